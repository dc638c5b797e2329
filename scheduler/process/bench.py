"""What happened at the bench: the scheduler's view of the document store.

While the store is away nothing here blocks the loop: the first failure starts a probe beside it, and until the
probe gets an answer every question is answered with :class:`AwayError`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any
from uuid import uuid4

import structlog
from pydantic import ValidationError

from analysis.documents import DocumentStore, StoreUnavailableError
from modules.contract import interlocks
from modules.contract.messages import LATCH_LOG, Control, ControlVerb, HostRecord

log = structlog.get_logger("octolab.scheduler")

PROBE_S = 0.25
_OPEN = ["claimed", "running"]


class AwayError(Exception):
    """The document store cannot be asked at the moment."""


class Bench:
    """Attempts, hosts, manifests, controls and latches, as the scheduler needs them.

    Parameters
    ----------
    store
        The document store.
    on_return
        Called from another thread when the store answers again.
    """

    def __init__(self, store: DocumentStore, on_return: Callable[[], None]) -> None:
        self.store = store
        self._on_return = on_return
        self._away = threading.Event()
        self.readable_since_s = time.monotonic()
        """Monotonic time since which the store could be read without a break."""

    @property
    def away(self) -> bool:
        """Whether the store did not answer last time."""
        return self._away.is_set()

    def attempts(self, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return the records of these attempts that exist."""
        found = self._ask(lambda: self.store.find_ids("attempts", ids))
        return {document["_id"]: document for document in found}

    def withdraw(self, attempt_id: str, module: str, step_ids: list[str], reason: str) -> bool:
        """Take an order back by being the first to insert its attempt; False if a host was faster."""
        document = {
            "_id": attempt_id,
            "schema_version": 1,
            "attempt_id": attempt_id,
            "state": "withdrawn",
            "module": module,
            "step_ids": step_ids,
            "reason": reason,
        }
        return bool(self._ask(lambda: self.store.claim("attempts", document, uuid4().hex)))

    def interrupt(self, attempt_id: str, reason: str) -> bool:
        """Close an attempt whose host has lost its lease; False if it was closed before."""
        return bool(
            self._ask(
                lambda: self.store.update_if(
                    "attempts",
                    attempt_id,
                    {"state": {"$in": _OPEN}},
                    # What the host did after its last record is not known; another scheduler may have to read this.
                    {"state": "interrupted", "reason": reason, "touched": True},
                )
            )
        )

    def hosts(self) -> list[HostRecord]:
        """Return all hosts that ever beat."""
        records = []
        for document in self._ask(lambda: self.store.find("hosts")):
            try:
                records.append(HostRecord.model_validate(_without_id(document)))
            except ValidationError as error:
                log.error("host record refused", host=document.get("_id"), error=str(error))
        return records

    def manifests(self, hashes: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return published manifests by hash."""
        found = self._ask(lambda: self.store.find_ids("manifests", hashes))
        return {document["_id"]: _manifest(document) for document in found}

    def latches(self) -> list[dict[str, Any]]:
        """Return the emergency stops that were ever tripped, as they are now."""
        return list(self._ask(lambda: self.store.find("latches")))

    def latch_log(self, scope: str, after_serial: int) -> list[dict[str, Any]]:
        """Return a scope's trips and re-arms behind a serial number, oldest first."""
        condition = {"scope": scope, "serial": {"$gt": after_serial}}
        return list(self._ask(lambda: self.store.find(LATCH_LOG, condition, sort=[("serial", 1)])))

    def interlocks(self) -> list[dict[str, Any]]:
        """Return the interlocks that have ever tripped, as their hosts see them."""
        return list(self._ask(lambda: self.store.find(interlocks.STATES)))

    def interlock_log(self, interlock: str, after_serial: int) -> list[dict[str, Any]]:
        """Return an interlock's trips and clears behind a serial number, oldest first."""
        condition = {"interlock": interlock, "serial": {"$gt": after_serial}}
        return list(self._ask(lambda: self.store.find(interlocks.LOG, condition, sort=[("serial", 1)])))

    def control(self, attempt_id: str, verb: ControlVerb, actor: str, reason: str, at: datetime) -> Control:
        """Write a wish about a running attempt."""
        control = Control(attempt_id=attempt_id, verb=verb, actor=actor, reason=reason, at=at)
        document = {"_id": f"{attempt_id}/{verb}/{at.timestamp():.3f}", **control.model_dump()}
        self._ask(lambda: self.store.insert_many("controls", [document]))
        return control

    def close_by_hand(self, record: Mapping[str, Any], documents: Iterable[tuple[str, Mapping[str, Any]]]) -> bool:
        """Close an attempt in a person's name: its documents first, then its record; False if it was decided before."""
        by_collection: dict[str, list[Mapping[str, Any]]] = {}
        for collection, document in documents:
            by_collection.setdefault(collection, []).append(document)
        for collection, found in by_collection.items():
            self._ask(partial(self.store.insert_many, collection, found))
        return bool(self._ask(lambda: self.store.claim("attempts", record, str(record["nonce"]))))

    def remember_clock(self, lab_s: float) -> None:
        """Note the present lab second, so that a simulated lab can resume from it."""
        self._ask(lambda: self.store.update_if("clock", "lab", {}, {"seen_lab_s": lab_s}))

    def _ask(self, question: Callable[[], Any]) -> Any:
        if self._away.is_set():
            raise AwayError
        try:
            return question()
        except StoreUnavailableError as error:
            log.warning("document store is away", error=str(error)[:200])
            self._away.set()
            threading.Thread(target=self._probe, name="document-store-probe", daemon=True).start()
            raise AwayError from error

    def _probe(self) -> None:
        while True:
            try:
                self.store.ping()
            except StoreUnavailableError:
                time.sleep(PROBE_S)
                continue
            break
        log.info("document store is back")
        self.readable_since_s = time.monotonic()
        self._away.clear()
        self._on_return()


def _without_id(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "_id"}


def _manifest(document: Mapping[str, Any]) -> dict[str, Any]:
    inner = document.get("manifest", document.get("document"))
    return dict(inner) if isinstance(inner, Mapping) else _without_id(document)
