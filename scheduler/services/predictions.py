"""How good predictions have been: what jobs and tasks were told, held against what happened."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from scheduler.models import Prediction, Step
from scheduler.states import JobState, StepState

MOST = 5000
"""The newest so many jobs and steps are looked at."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A prediction and what happened, lab seconds."""

    low_s: float
    middle_s: float
    high_s: float
    real_s: float

    @property
    def held(self) -> bool:
        """Whether it happened within the range; a millisecond is nothing."""
        return self.low_s - 1e-3 <= self.real_s <= self.high_s + 1e-3


def figures() -> dict[str, Any]:
    """Return the figures of jobs (start and finish, as told when they came) and of tasks (durations)."""
    starts, finishes = scored_jobs()
    tasks = scored_tasks()
    return {
        "jobs": {"start": summary(starts), "finish": summary(finishes)},
        "task_durations": summary([one for rows in tasks.values() for one in rows]),
        "tasks": {name: summary(rows) for name, rows in sorted(tasks.items())},
    }


def scored_jobs(most: int = MOST) -> tuple[list[Scored], list[Scored]]:
    """Return starts and finishes of completed jobs as they were told when the jobs came, oldest first."""
    rows = (
        Prediction.objects.filter(
            first=True, void=False, job__state=JobState.COMPLETED,
            job__started_lab_s__isnull=False, job__finished_lab_s__isnull=False,
        )
        .order_by("-id")
        .values_list(
            "start_low_lab_s", "start_lab_s", "start_high_lab_s", "job__started_lab_s",
            "finish_low_lab_s", "finish_lab_s", "finish_high_lab_s", "job__finished_lab_s",
        )[:most]
    )  # fmt: skip
    found: list[Any] = list(rows)[::-1]
    return [Scored(*row[:4]) for row in found], [Scored(*row[4:]) for row in found]


def scored_tasks(most: int = MOST) -> dict[str, list[Scored]]:
    """Return the durations of completed steps by module and task, as expected when their orders went out."""
    rows = (
        Step.objects.filter(
            state=StepState.COMPLETED, expected_s__isnull=False, started_lab_s__isnull=False, ended_lab_s__isnull=False
        )
        .order_by("-id")
        .values_list(
            "module", "task_name", "expected_low_s", "expected_s", "expected_high_s", "started_lab_s", "ended_lab_s"
        )[:most]
    )
    found: dict[str, list[Scored]] = defaultdict(list)
    newest_first: list[Any] = list(rows)
    for module, task, low_s, middle_s, high_s, started_s, ended_s in newest_first[::-1]:
        found[f"{module}.{task}"].append(Scored(low_s, middle_s, high_s, ended_s - started_s))
    return dict(found)


def summary(rows: Iterable[Scored]) -> dict[str, Any]:
    """Return number, coverage of the 80 % range, bias and median absolute error (lab seconds, real minus predicted)."""
    rows = list(rows)
    errors = [one.real_s - one.middle_s for one in rows]
    return {
        "number": len(rows),
        "coverage": round(fmean(one.held for one in rows), 4) if rows else None,
        "bias_s": round(fmean(errors), 3) if rows else None,
        "median_abs_error_s": round(median(map(abs, errors)), 3) if rows else None,
    }
