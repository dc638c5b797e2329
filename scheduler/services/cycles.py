"""The next cycles of closed loops as they stand in the plan: nothing of them is submitted yet, but they will come."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from scheduler.models import Job
from scheduler.states import JOB_FINAL
from users.models import User


@dataclass(frozen=True)
class Expected:
    """A step that is expected.

    Attributes
    ----------
    job
        The present cycle's job; None for who may not see it.
    cycle
        Which of the next cycles, from 1.
    name
        Of that job; of others' work only if its project shows names.
    title
        What to call it.
    """

    job: UUID | None
    cycle: int
    name: str
    title: str
    start_s: float
    end_s: float
    devices: tuple[str, ...]


def expected_cycles(user: User) -> list[Expected]:
    """Return what is expected, as a user may see it."""
    rows = Job.objects.exclude(state__in=JOB_FINAL).exclude(expected=[])
    jobs = list(rows.select_related("project").only("id", "name", "campaign", "expected", "project__shows_names"))
    if not jobs:
        return []
    mine = set(Job.objects.visible_to(user).filter(pk__in=[job.pk for job in jobs]).values_list("pk", flat=True))
    found = []
    for job in jobs:
        seen = job.pk in mine
        name = job.name if seen or job.project.shows_names else ""
        for cycle, start_s, end_s, devices in job.expected:
            title = _title(job, cycle) if seen else name or "busy"
            found.append(Expected(job.pk if seen else None, cycle, name, title, start_s, end_s, tuple(devices)))
    return found


def _title(job: Job, cycle: int) -> str:
    of = f"campaign {job.campaign}" if job.campaign else job.name
    return f"next cycle of {of}" if cycle == 1 else f"{cycle} cycles ahead of {of}"
