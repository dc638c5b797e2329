"""A job's rows, written with one prepared statement for each table."""

from __future__ import annotations

from uuid import UUID

from octolab.rows import insert_instance, insert_rows
from scheduler.generator import Expansion
from scheduler.models import Job, Sample, Step, StepMember, Task
from scheduler.states import SampleState, StepState

_SAMPLE = ("id", "job", "index", "name", "parameters", "source", "contents", "state", "reason")
_TASK = ("id", "job", "key", "index", "module", "task", "parameters", "origins", "cleanup")
_STEP = (
    "id", "job", "index", "name", "module", "task_name", "action", "person", "dormant", "block", "devices", "takes",
    "frees", "settings", "consumes", "adds", "needs", "duration_s", "state", "reason", "attempt", "failures",
    "not_before_lab_s",
)  # fmt: skip


def insert(job: Job, expansion: Expansion) -> None:
    """Insert a job with its samples, tasks and steps; call it in a transaction."""
    insert_instance(job)
    insert_rows(
        Sample,
        _SAMPLE,
        (
            (s.id, job.id, s.index, s.name, s.parameters, s.source, s.contents, SampleState.PLANNED.value, "")
            for s in expansion.samples
        ),
    )
    insert_rows(
        Task,
        _TASK,
        ((t.id, job.id, t.key, t.index, t.module, t.task, t.parameters, {}, t.cleanup) for t in expansion.tasks),
    )
    insert_rows(
        Task.samples.through,
        ("task", "sample"),
        ((task.id, sample.id) for task in expansion.tasks for sample in task.samples),
    )
    insert_rows(
        Step,
        _STEP,
        (
            (s.id, job.id, s.index, s.name, s.module, s.task_name, s.action, s.person, s.dormant, s.block, s.devices,
             s.takes, s.frees, s.settings, s.consumes, s.adds, s.needs, s.duration_s, StepState.WAITING.value, "", 0, 0,
             0.0)
            for s in expansion.steps
        ),
    )  # fmt: skip
    members: list[tuple[UUID, UUID, UUID | None, str]] = []
    for step in expansion.steps:
        samples: list[UUID | None] = [sample.id for sample in step.task.samples]
        members.extend((step.id, step.task.id, sample, "") for sample in samples or [None])
    insert_rows(StepMember, ("step", "task", "sample", "error"), members)
