"""The event log: what is written in the transaction of a change, in the order of ``seq`` without gaps."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from octolab.rows import insert_rows
from scheduler.models import Event

_COLUMNS = (
    "seq", "at", "lab_s", "kind", "subject", "job", "project", "state_from", "state_to", "actor", "reason", "data",
)  # fmt: skip


@dataclass(slots=True)
class Happening:
    """An event that is not yet written.

    Attributes
    ----------
    kind
        ``job``, ``sample``, ``step``, ``device``, ``stock``, ``plan``, ``attempt``, ``request``.
    subject
        Id of what changed.
    actor
        Username, or empty for the scheduler itself.
    """

    kind: str
    subject: str
    job_id: str | None = None
    project_id: str | None = None
    state_from: str = ""
    state_to: str = ""
    actor: str = ""
    reason: str = ""
    data: dict[str, Any] = field(default_factory=dict)


def append(happenings: list[Happening], *, after_seq: int, at: datetime, lab_s: float) -> None:
    """Write events behind ``after_seq``.

    Call it in a transaction that has updated the leader row (:mod:`scheduler.process.leader`): that lock is what
    keeps the sequence without gaps and in the order of the commits.
    """
    rows = [
        (seq, at, lab_s, h.kind, h.subject, h.job_id, h.project_id, h.state_from, h.state_to, h.actor, h.reason, h.data)
        for seq, h in enumerate(happenings, after_seq + 1)
    ]
    insert_rows(Event, _COLUMNS, rows)
