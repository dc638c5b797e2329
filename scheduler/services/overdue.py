"""Steps that run far longer than expected: something hangs, and nothing else would say so."""

from __future__ import annotations

from octolab import labtime
from scheduler.models import Job, Step
from scheduler.states import StepState

TIMES = 3.0
"""A step is overdue once it has taken so many times as long as expected, ..."""
GRACE_REAL_S = 60.0
"""... and so many seconds of the people in the lab on top."""


def overdue_steps(job: Job | None = None) -> list[Step]:
    """Return the attended steps that run far too long, the longest first: of a job, or of all."""
    clock = labtime.clock()
    if clock is None:
        return []
    rows = Step.objects.filter(state=StepState.RUNNING, action__isnull=False, person=False)
    rows = rows.exclude(started_lab_s=None).select_related("job__owner").order_by("started_lab_s")
    limit_s, now_s = GRACE_REAL_S * clock.scale, clock.now()
    mine = rows if job is None else rows.filter(job=job)
    return [step for step in mine if now_s - (step.started_lab_s or now_s) > TIMES * step.duration_s + limit_s]
