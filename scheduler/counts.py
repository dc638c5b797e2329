"""How much of everything there is, for monitoring."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, QuerySet

from .models import Job, Step
from .states import JOB_FINAL, STEP_FINAL


def job_states() -> dict[str, int]:
    """Return the number of jobs that are not final, by state."""
    return _by_state(Job.objects.exclude(state__in=JOB_FINAL))


def step_states() -> dict[str, int]:
    """Return the number of steps that are not final, by state."""
    return _by_state(Step.objects.exclude(state__in=STEP_FINAL))


def _by_state(rows: QuerySet[Any]) -> dict[str, int]:
    return dict(rows.values_list("state").annotate(Count("pk")).order_by())
