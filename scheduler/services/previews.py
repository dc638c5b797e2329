"""Asking before submitting: when would a checked job run? Nothing is kept."""

from __future__ import annotations

from typing import Any

from octolab.labtime import clock
from scheduler.models import Job, Step, StepMember

from .jobs import CheckedJob
from .placement import Placement, preview, question_of

_COLUMNS = (
    *("id", "index", "name", "module", "task_name", "action", "dormant", "block", "devices", "takes", "frees"),
    *("settings", "consumes", "adds", "needs", "duration_s"),
)


def predict(checked: CheckedJob) -> Placement | None:
    """Ask the scheduler where a checked job would stand; None if it does not answer in time.

    Blocks for up to `placement.PREVIEW_WAIT_S`, but needs no database.
    """
    return preview(*_rows(checked))


def question(checked: CheckedJob) -> dict[str, Any]:
    """Return a checked job as it goes to the scheduler with a question."""
    return question_of(*_rows(checked))


def _rows(checked: CheckedJob) -> tuple[Job, list[Step], list[StepMember]]:
    now = clock()
    job = Job(
        id=checked.expansion.job_id,
        owner=checked.user,
        project=checked.project,
        deadline_at=checked.deadline_at,
        spec={"expects": checked.document.expects},
        priority=checked.document.priority,
        manifests={instance: checked.catalogue.hashes[instance] for instance in checked.expansion.modules},
        submitted_lab_s=now.now() if now is not None else 0.0,
    )
    steps = [Step(job=job, **{name: getattr(row, name) for name in _COLUMNS}) for row in checked.expansion.steps]
    members = [
        StepMember(step_id=row.id, task_id=row.task.id, sample_id=sample)
        for row in checked.expansion.steps
        for sample in ([sample.id for sample in row.task.samples] or (None,))
    ]
    return job, steps, members
