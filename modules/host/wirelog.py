"""The wire log: every byte that went to or came from a device, for the day something went wrong.

Bounded, gathered, and written beside the journal: it never blocks an action, and what does not fit is counted.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from analysis.documents import DocumentStore, StoreError
from modules.contract.clock import Clock
from octolab.ids import new_id

from .guard import readable

log = logging.getLogger(__name__)

FLUSH_S = 0.5
MAX_LINES = 20_000
LINES_PER_DOCUMENT = 500
SCHEMA_VERSION = 1


class WireLog:
    """Gathers lines and stores them in the collection ``wire_log``.

    Parameters
    ----------
    store : DocumentStore
        Where they go.
    clock : Clock
        Lab time.
    attempt_of : callable
        Returns the id of the attempt that uses a device, or "".
    """

    def __init__(self, store: DocumentStore, host: str, clock: Clock, attempt_of: Callable[[str], str]) -> None:
        self._store = store
        self._host = host
        self._clock = clock
        self._attempt_of = attempt_of
        self._lines: deque[tuple[str, str, float, str, bytes]] = deque(maxlen=MAX_LINES)
        self._seen = 0
        self._taken = 0
        self._dropped = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wire-log", daemon=True)

    def on_wire(self, device: str, direction: str, data: bytes) -> None:
        """Note bytes sent (``tx``) or received (``rx``); never blocks."""
        self._lines.append((self._attempt_of(device), device, self._clock.now(), direction, bytes(data)))
        self._seen += 1

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Store what is left, once, and end."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def _run(self) -> None:
        waiting: list[dict[str, Any]] = []
        ended = False
        while not ended:
            ended = self._end.wait(FLUSH_S)
            waiting = (waiting + self._gather())[-MAX_LINES // LINES_PER_DOCUMENT :]
            try:
                self._store.insert_many("wire_log", waiting)
                waiting = []
            except StoreError as error:
                log.debug("the wire log has to wait: %s", error)

    def _gather(self) -> list[dict[str, Any]]:
        documents: dict[tuple[str, str], dict[str, Any]] = {}
        finished: list[dict[str, Any]] = []
        seen, waiting = self._seen, len(self._lines)
        self._dropped += max(0, seen - self._taken - waiting)
        self._taken = seen
        for _ in range(waiting):
            attempt_id, device, lab_s, direction, data = self._lines.popleft()
            document = documents.get((attempt_id, device))
            if document is None:
                document = documents[attempt_id, device] = {
                    "_id": str(new_id()),
                    "schema_version": SCHEMA_VERSION,
                    "attempt_id": attempt_id,
                    "device": device,
                    "host": self._host,
                    "from_lab_s": lab_s,
                    "dropped": self._dropped,
                    "lines": [],
                }
                self._dropped = 0
            document["lines"].append({"lab_s": lab_s, "direction": direction, "text": readable(data)})
            if len(document["lines"]) >= LINES_PER_DOCUMENT:
                finished.append(documents.pop((attempt_id, device)))
        return finished + list(documents.values())
