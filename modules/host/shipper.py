"""Brings what the journal holds to the document store, in the journal's order, until the store has it.

Within one batch documents go before attempts, so nobody sees a closed attempt whose results are missing.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from analysis.documents import DocumentRefusedError, DocumentStore, StoreError

from .journal import Entry, Journal, JournalError, Record
from .live import Live

log = logging.getLogger(__name__)

BATCH = 1000
RETRY_S = 0.5
OPEN_STATES = ["claimed", "running"]


class Shipper:
    """A thread between journal and store.

    Parameters
    ----------
    journal : Journal
        What to ship.
    store : DocumentStore
        Where to.
    live : Live
        Rings the scheduler after attempts changed.
    on_closed : callable
        Told the id of each attempt that is closed in the store.
    """

    def __init__(
        self, journal: Journal, store: DocumentStore, live: Live, on_closed: Callable[[str], None] = lambda _: None
    ) -> None:
        self._journal = journal
        self._store = store
        self._live = live
        self.on_closed = on_closed
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shipper", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Ship what there is for at most that long, and end; return whether everything is shipped."""
        deadline = time.monotonic() + timeout_s
        while self._thread.is_alive() and self._journal.backlog and time.monotonic() < deadline:
            time.sleep(0.02)
        self._end.set()
        if self._thread.is_alive():
            self._thread.join(15)
        return not self._journal.backlog

    def _run(self) -> None:
        away = full = False
        while not self._end.is_set():
            entries = self._journal.take(BATCH, timeout_s=0.5)
            if not entries:
                continue
            try:
                self._journal.sync()
                full = False
            except JournalError as error:
                # better in the store without having been on disk than nowhere
                if not full:
                    log.error("%s", error)
                full = True
            try:
                self.ship(entries)
                away = False
            except StoreError as error:
                if not away:
                    log.warning("documents wait in the journal: %s", error)
                away = True
                self._end.wait(RETRY_S)
            except Exception:
                log.exception("shipping failed; it is tried again")
                self._end.wait(RETRY_S)

    def ship(self, entries: list[Entry]) -> None:
        """Bring these records to the store, and take them off the journal's list."""
        documents: dict[str, list[dict[str, Any]]] = {}
        puts: list[tuple[str, dict[str, Any]]] = []
        changes: dict[str, Record] = {}
        for entry in entries:
            record = entry.record
            match record["k"]:
                case "doc":
                    documents.setdefault(record["c"], []).append(record["d"])
                case "put":
                    puts.append((record["c"], record["d"]))
                case "running" | "close":
                    # the later record of an attempt holds all that the earlier one says
                    changes[record["id"]] = record
        for collection, batch in documents.items():
            self._insert(collection, batch)
        for collection, document in puts:
            self._refusable(document, self._store.upsert, collection, document)
        self._change(changes)
        self._journal.shipped(entries)
        if changes:
            self._live.ring()
        for record in changes.values():
            if record["k"] == "close":
                self.on_closed(record["id"])

    def _insert(self, collection: str, batch: list[dict[str, Any]]) -> None:
        try:
            self._store.insert_many(collection, batch)
        except DocumentRefusedError:
            for document in batch:
                self._refusable(document, self._store.insert_many, collection, [document])

    def _refusable(self, document: Any, write: Callable[..., Any], *arguments: Any) -> None:
        """Write; a document that can never be stored is set aside, so that it does not hold up the others."""
        try:
            write(*arguments)
        except DocumentRefusedError as error:
            log.error("a document is set aside in %s/refused.jsonl: %s", self._journal.folder, error)
            with (self._journal.folder / "refused.jsonl").open("a") as file:
                file.write(json.dumps(document, default=str) + "\n")

    def _change(self, changes: dict[str, Record]) -> None:
        if not changes:
            return
        records = list(changes.values())
        done = self._store.update_each(
            "attempts",
            [
                (record["id"], {"nonce": record["nonce"], "state": {"$in": OPEN_STATES}}, record["changes"])
                for record in records
            ],
        )
        lost = [record["id"] for record, changed in zip(records, done, strict=True) if not changed]
        for found in self._store.find_ids("attempts", lost):
            mine = changes[found["_id"]]
            if mine["k"] == "close" and found.get("ended_lab_s") != mine["changes"]["ended_lab_s"]:
                log.error(
                    "%s ended here as %s, but stands as %s: somebody else had closed it (%s)",
                    found["_id"], mine["changes"]["state"], found["state"], found.get("reason") or found.get("error"),
                )  # fmt: skip
