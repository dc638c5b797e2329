"""Asking before submitting: is the job good, and when would it run? Nothing is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scheduler.generator import Expansion
from scheduler.models import Job, Step, StepMember
from users.models import Project, User

from .jobs import CheckedJob, check_job, job_row
from .placement import Placement, preview


@dataclass(frozen=True)
class Preview:
    """A job that could be accepted now."""

    checked: CheckedJob
    placement: Placement | None
    """Where it would stand in the plan; None if the scheduler did not answer in time."""


def preview_job(
    *, user: User, document: str | bytes | Mapping[str, Any], project: Project | str | None = None
) -> Preview:
    """Check a job completely and ask the scheduler where it would stand.

    Raises
    ------
    JobRefused
        With everything that is wrong.
    LabNotReady
        If the lab file or the lab's clock cannot be read.
    """
    checked = check_job(user=user, document=document, project=project)
    job, expansion = job_row(checked, user), checked.expansion
    return Preview(checked, preview(job, _steps(job, expansion), _members(expansion)))


def _steps(job: Job, expansion: Expansion) -> list[Step]:
    fields = ("id", "index", "name", "module", "task_name", "action", "dormant", "block", "devices", "takes", "frees")
    more = ("settings", "consumes", "adds", "needs", "duration_s")
    return [Step(job=job, **{name: getattr(row, name) for name in (*fields, *more)}) for row in expansion.steps]


def _members(expansion: Expansion) -> list[StepMember]:
    return [
        StepMember(step_id=row.id, task_id=row.task.id, sample_id=sample)
        for row in expansion.steps
        for sample in [sample.id for sample in row.task.samples] or [None]
    ]
