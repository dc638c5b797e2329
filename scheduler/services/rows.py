"""A job's rows, written with one statement for each table."""

from __future__ import annotations

from scheduler.generator import Expansion
from scheduler.models import Job, Sample, Step, StepMember, Task


def insert(job: Job, expansion: Expansion) -> None:
    """Insert a job with its samples, tasks and steps; call it in a transaction."""
    job.save(force_insert=True)
    if expansion.samples:
        Sample.objects.bulk_create(
            Sample(
                id=row.id,
                job=job,
                index=row.index,
                name=row.name,
                parameters=row.parameters,
                source=row.source,
                contents=row.contents,
            )
            for row in expansion.samples
        )
    Task.objects.bulk_create(
        Task(
            id=row.id,
            job=job,
            key=row.key,
            index=row.index,
            module=row.module,
            task=row.task,
            parameters=row.parameters,
            cleanup=row.cleanup,
        )
        for row in expansion.tasks
    )
    through = Task.samples.through
    pairs = [through(task_id=row.id, sample_id=sample.id) for row in expansion.tasks for sample in row.samples]
    if pairs:
        through.objects.bulk_create(pairs)
    Step.objects.bulk_create(step_rows(job, expansion))
    StepMember.objects.bulk_create(member_rows(expansion))


def step_rows(job: Job, expansion: Expansion) -> list[Step]:
    """Return a job's steps as rows that are not saved."""
    return [
        Step(
            id=row.id,
            job=job,
            index=row.index,
            name=row.name,
            module=row.module,
            task_name=row.task_name,
            action=row.action,
            dormant=row.dormant,
            block=row.block,
            devices=row.devices,
            takes=row.takes,
            frees=row.frees,
            settings=row.settings,
            consumes=row.consumes,
            adds=row.adds,
            needs=row.needs,
            duration_s=row.duration_s,
        )
        for row in expansion.steps
    ]


def member_rows(expansion: Expansion) -> list[StepMember]:
    """Return the members of a job's steps as rows that are not saved."""
    return [
        StepMember(step_id=row.id, task_id=row.task.id, sample_id=sample)
        for row in expansion.steps
        for sample in [sample.id for sample in row.task.samples] or [None]
    ]
