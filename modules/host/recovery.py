"""After a restart: what the ended incarnation left open is closed as interrupted, with what the journal knows."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from analysis.documents import DocumentStore
from octolab.ids import new_id

from .journal import Journal, Record
from .shipper import OPEN_STATES

log = logging.getLogger(__name__)

MAX_PREVIOUS = 50
REASON = "the host ended while the step was running"
ENDED_BY_HOSTS = frozenset({"completed", "failed", "aborted"})
"""States in which nobody but its host closes an attempt."""
NO_JOURNAL = "not known: the host's journal is missing"


@dataclass
class _Open:
    """What the journal knows of an attempt that was not closed."""

    nonce: str
    commands: list[str] = field(default_factory=list)
    first_command_lab_s: float | None = None
    started_lab_s: float | None = None
    runs: list[str] = field(default_factory=list)


class Past:
    """The story that a journal tells."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.incarnations: list[str] = []
        self.open: dict[str, _Open] = {}
        self.closed: set[str] = set()
        for record in records:
            self._read(record)

    def _read(self, record: Record) -> None:
        match record["k"]:
            case "open":
                self.incarnations = [*record["previous"], record["incarnation"]][-MAX_PREVIOUS:]
            case "claim":
                self.open[record["id"]] = _Open(record["nonce"])
            case "running":
                if (attempt := self.open.get(record["id"])) is not None:
                    attempt.started_lab_s = record["changes"]["started_lab_s"]
            case "intent":
                if (attempt := self.open.get(record["id"])) is not None:
                    attempt.commands.append(record["command"])
                    if attempt.first_command_lab_s is None:
                        attempt.first_command_lab_s = record["lab_s"]
            case "doc" if record["c"] == "run_starts":
                if (attempt := self.open.get(record["d"]["attempt_id"])) is not None:
                    attempt.runs.append(record["d"]["uid"])
            case "doc" if record["c"] == "run_stops":
                for attempt in self.open.values():
                    if record["d"]["run_start"] in attempt.runs:
                        attempt.runs.remove(record["d"]["run_start"])
            case "drop" | "close":
                self.open.pop(record["id"], None)
                self.closed.add(record["id"])


def begin_incarnation(journal: Journal, incarnation: str) -> Past:
    """Read the journal and note that a new incarnation starts."""
    past = Past(journal.replay())
    journal.write({"k": "open", "incarnation": incarnation, "previous": past.incarnations, "wall_s": time.time()})
    return past


def close_what_was_left(journal: Journal, store: DocumentStore, past: Past, host: str, lab_s: float) -> list[str]:
    """Close all attempts of ended incarnations as interrupted; return their ids. Nothing is repeated.

    Raises
    ------
    StoreUnavailableError
        Ask again: the store has to be searched for claims that did not get as far as the journal.
    """
    known = past.closed | set(past.open)
    only_in_store = [
        record
        for record in store.find("attempts", {"state": {"$in": OPEN_STATES}})
        if record["host"] == host and record["_id"] not in known
    ]
    # With a full disk, what happened may have reached the store without having been in the journal.
    stored = {record["_id"]: record for record in store.find_ids("attempts", past.open)}
    runs = [uid for left in past.open.values() for uid in left.runs]
    stopped = {stop["run_start"] for stop in store.find("run_stops", {"run_start": {"$in": runs}})} if runs else set()
    for attempt_id, left in past.open.items():
        left.runs = [uid for uid in left.runs if uid not in stopped]
        record = stored.get(attempt_id)
        if record is not None and record["nonce"] == left.nonce and record["state"] in ENDED_BY_HOSTS:
            journal.append({"k": "drop", "id": attempt_id})
            continue
        _close(journal, attempt_id, left.nonce, left, touched=bool(left.commands), lab_s=lab_s)
    for record in only_in_store:
        # with the journal at hand, a claim that is not in it sent no command
        ours = record["incarnation"] in past.incarnations
        left = _Open(record["nonce"], commands=[] if ours else [NO_JOURNAL])
        _close(journal, record["_id"], record["nonce"], left, touched=not ours, lab_s=lab_s)
    return [*past.open, *(record["_id"] for record in only_in_store)]


def _close(journal: Journal, attempt_id: str, nonce: str, left: _Open, *, touched: bool, lab_s: float) -> None:
    last_command = left.commands[-1] if left.commands else ""
    log.warning("%s was left open; it is closed as interrupted (last command: %s)", attempt_id, last_command or "none")
    for uid in left.runs:
        stop: dict[str, Any] = {
            "uid": str(new_id()),
            "time": time.time(),
            "schema_version": 1,
            "run_start": uid,
            "exit_status": "fail",
            "reason": REASON,
            "lab_s": lab_s,
        }
        journal.append({"k": "doc", "c": "run_stops", "d": {"_id": stop["uid"], **stop}})
    changes = {
        "state": "interrupted",
        "started_lab_s": left.started_lab_s,
        "first_command_lab_s": left.first_command_lab_s,
        "ended_lab_s": lab_s,
        "touched": touched,
        "last_command": last_command,
        "error": f"{REASON}; last command: {last_command}" if last_command else f"{REASON}; no command was sent",
        "reason": REASON,
    }
    journal.append({"k": "close", "id": attempt_id, "nonce": nonce, "changes": changes})
