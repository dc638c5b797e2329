"""The host's sign of life: one document, renewed each second."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from datetime import UTC, datetime

from analysis.documents import DocumentStore, StoreError
from modules.contract.messages import HostRecord

from .live import Live
from .memory import give_back
from .rack import Rack

log = logging.getLogger(__name__)

BEAT_S = 1.0
FIRST_TIDY_BEAT = 5
TIDY_BEATS = 60


class Heartbeat:
    """A thread that says how the host and its devices are, and looks after devices that do not answer."""

    def __init__(
        self,
        host: str,
        incarnation: str,
        modules: Mapping[str, str],
        previous: list[str],
        rack: Rack,
        store: DocumentStore,
        live: Live,
    ) -> None:
        self._record = HostRecord(
            host=host,
            incarnation=incarnation,
            beat=0,
            started_at=datetime.now(UTC),
            modules=dict(modules),
            devices={},
            previous=tuple(previous),
        )
        self._rack = rack
        self._store = store
        self._live = live
        self._changed = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        rack.on_change = self._changed.set

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End it. What stands in the store then grows old."""
        self._ended = True
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join(15)

    def beat(self) -> None:
        """Say how things are.

        Raises
        ------
        StoreError
            The store does not answer.
        """
        states = self._rack.states()
        news = _apart_from_busy(states) != _apart_from_busy(self._record.devices)
        self._record = self._record.model_copy(update={"beat": self._record.beat + 1, "devices": states})
        self._store.upsert("hosts", {"_id": self._record.host, **self._record.model_dump(mode="json")})
        if news:
            self._live.ring()

    def _run(self) -> None:
        while not self._ended:
            self._rack.check()
            try:
                self.beat()
            except StoreError as error:
                log.debug("no sign of life was stored: %s", error)
            except Exception:
                log.exception("a sign of life failed; it goes on")
            if self._record.beat % TIDY_BEATS == FIRST_TIDY_BEAT:
                give_back()
            self._changed.wait(BEAT_S)
            self._changed.clear()


def _apart_from_busy(states: Mapping[str, str]) -> dict[str, str]:
    return {device: "idle" if state == "busy" else state for device, state in states.items()}
