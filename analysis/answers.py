"""What a person's answer leaves behind: the same event-model documents as an action's run, and who gave it.

No Django. All ids follow from the run's, so writing an answer again changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from .documents import RESULTS, Document

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Asked:
    """One member's run: what was asked for and what somebody answered.

    Attributes
    ----------
    run
        What every start document says: uid, owner, project, job, sample, task, module, attempt, parameters.
    by
        Name of the user who answered.
    values
        Result → ``{"value", "unit"}``.
    error
        Why it cannot be done; empty if it was.
    asked_lab_s, answered_lab_s
        Lab seconds.
    answered_at_s
        Wall time of the answer, seconds since 1970.
    stream
        Name of the stream in which the values stand.
    """

    run: Mapping[str, Any]
    by: str
    note: str
    error: str
    values: Mapping[str, Mapping[str, Any]]
    asked_lab_s: float
    answered_lab_s: float
    answered_at_s: float
    stream: str


def documents_of(asked: Asked) -> Iterator[tuple[str, Document]]:
    """Yield (collection, document) of a run, the stop document last."""
    run, at_s = asked.run, asked.answered_at_s
    uid = str(run["uid"])
    provenance = {"by": asked.by, "note": asked.note}
    yield (
        "run_starts",
        {
            "_id": uid,
            **run,
            "time": at_s,
            "schema_version": SCHEMA_VERSION,
            "lab_s": asked.asked_lab_s,
            "host": "",
            "incarnation": "",
            **provenance,
        },
    )
    if asked.values:
        yield from _event(asked, uid)
    yield (
        RESULTS,
        {
            "_id": uid,
            "uid": uid,
            "schema_version": SCHEMA_VERSION,
            **{
                name: run[name]
                for name in (
                    *("job_id", "project_id", "owner", "sample_id", "sample", "task_id", "task", "module"),
                    *("attempt_id", "attempt", "simulated"),
                )
            },
            "ok": not asked.error,
            "error": asked.error,
            "values": {name: dict(entry) for name, entry in asked.values.items()},
            "arrays": {},
            "ended_lab_s": asked.answered_lab_s,
            "time": at_s,
            **provenance,
        },
    )
    yield (
        "run_stops",
        {
            **_named(uid, "stop"),
            "time": at_s,
            "schema_version": SCHEMA_VERSION,
            "run_start": uid,
            "exit_status": "fail" if asked.error else "success",
            "reason": asked.error or f"answered by {asked.by}",
            "num_events": {asked.stream: 1} if asked.values else {},
            "lab_s": asked.answered_lab_s,
        },
    )


def _event(asked: Asked, uid: str) -> Iterator[tuple[str, Document]]:
    descriptor = _named(uid, "descriptor")
    keys = {
        name: {
            "source": f"octolab:{asked.run['module']}/{asked.by}",
            "dtype": _dtype(entry["value"]),
            "shape": [],
            "units": entry["unit"],
        }
        for name, entry in asked.values.items()
    }
    yield (
        "descriptors",
        {
            **descriptor,
            "configuration": {},
            "hints": {},
            "object_keys": {},
            "time": asked.answered_at_s,
            "run_start": uid,
            "name": asked.stream,
            "data_keys": keys,
        },
    )
    yield (
        "events",
        {
            **_named(uid, "event"),
            "time": asked.answered_at_s,
            "descriptor": descriptor["uid"],
            "seq_num": 1,
            "data": {name: entry["value"] for name, entry in asked.values.items()},
            "timestamps": dict.fromkeys(asked.values, asked.answered_at_s),
            "filled": {},
        },
    )


def _named(run_uid: str, part: str) -> Document:
    uid = str(uuid5(UUID(run_uid), part))
    return {"_id": uid, "uid": uid}


def _dtype(value: Any) -> str:
    match value:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case _:
            return "string"
