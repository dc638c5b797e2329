"""Build live jobs from database rows: all that are not final at start, new ones later."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db import connection

from octolab.select import Select
from scheduler.generator.expand import ENDS
from scheduler.models import Device, Job, Place, Sample, Step, StepMember, Task
from scheduler.process.equipment import LiveDevice
from scheduler.process.live import LabState, LiveJob, LiveMember, LiveSample, LiveStep, LiveTask, Need, Unit
from scheduler.process.policy import policies_of
from scheduler.states import JOB_FINAL, STEP_FINAL, JobState, SampleState, StepState

CHUNK = 500
"""Jobs read at once: SQLite bounds the number of parameters of a query."""
MOST_NEW = 1000
"""New jobs taken in at one turn."""

_JOB = (
    "id", "name", "project_id", "owner_id", "owner__username", "state", "state_reason", "priority", "deadline_at",
    "simulated", "spec", "manifests", "submitted_lab_s", "started_lab_s", "finished_lab_s", "finished_at",
    "predicted_start_lab_s", "predicted_finish_lab_s", "samples_total", "samples_failed", "steps_total", "steps_done",
    "placed", "ending", "back_to", "manual", "campaign", "weight",
)  # fmt: skip
_SAMPLE = ("id", "job_id", "name", "index", "state", "reason", "source", "contents")
_TASK = ("id", "job_id", "index", "key", "module", "task", "parameters", "results", "cleanup", "origins")
_MEMBER = ("id", "step_id", "task_id", "sample_id", "run_uid", "ok", "error")
_STEP = (
    "id", "job_id", "index", "name", "module", "task_name", "action", "person", "dormant", "block", "state", "reason",
    "attempt", "devices", "takes", "frees", "settings", "consumes", "adds", "needs", "duration_s",
    "planned_start_lab_s", "planned_end_lab_s", "granted_at", "deadline_at", "started_lab_s", "ended_lab_s", "ended_at",
    "failures", "not_before_lab_s", "expected_s", "expected_low_s", "expected_high_s", "question",
)  # fmt: skip


_NEW_IDS = Select(
    lambda: (
        Job.objects.filter(placed=False)
        .exclude(state__in=[*JOB_FINAL, JobState.AWAITING_APPROVAL])
        .order_by("id")
        .values_list("id")[:MOST_NEW]
    )
)
_JOBS = Select(lambda: Job.objects.order_by("id").values_list(*_JOB), by="id")
_SAMPLES = Select(lambda: Sample.objects.order_by("job_id", "index").values_list(*_SAMPLE), by="job")
_TASKS = Select(lambda: Task.objects.order_by("index").values_list(*_TASK), by="job")
_STEPS = Select(lambda: Step.objects.order_by("job_id", "index").values_list(*_STEP), by="job")
_MEMBERS = Select(lambda: StepMember.objects.order_by("id").values_list(*_MEMBER), by="step__job")

_NEWS = (
    "SELECT (SELECT count(*) FROM scheduler_job WHERE NOT placed AND state <> 'awaiting_approval'),"
    " (SELECT count(*) FROM scheduler_request WHERE applied_at IS NULL)"
)


def news() -> tuple[int, int]:
    """Return how many jobs are not placed (some may be final) and how many requests are open: one cheap query."""
    with connection.cursor() as cursor:
        cursor.execute(_NEWS)
        jobs, requests = cursor.fetchone()
    return jobs, requests


def new_job_ids() -> list[UUID]:
    """Return jobs that the plan does not know yet, oldest first."""
    return [pk for (pk,) in _NEW_IDS()]


def open_job_ids() -> list[UUID]:
    """Return all jobs that are placed and not final, oldest first."""
    return list(
        Job.objects.filter(placed=True).exclude(state__in=JOB_FINAL).order_by("id").values_list("id", flat=True)
    )


def load_jobs(ids: Sequence[UUID]) -> list[LiveJob]:
    """Read jobs with their samples, tasks and steps."""
    jobs: list[LiveJob] = []
    for start in range(0, len(ids), CHUNK):
        jobs.extend(_load(ids[start : start + CHUNK]))
    return jobs


def _load(ids: Sequence[UUID]) -> list[LiveJob]:
    jobs = {job.id: job for job in map(_job, _JOBS(ids))}
    samples: dict[UUID, LiveSample] = {}
    for pk, job_id, name, index, state, reason, source, contents in _SAMPLES(ids):
        job = jobs[str(job_id)]
        sample = LiveSample(str(pk), job, name, index, state, state, reason, source, contents)
        samples[pk] = sample
        job.samples.append(sample)
    tasks = _tasks(jobs, _TASKS(ids))
    steps: dict[UUID, LiveStep] = {}
    for row in _STEPS(ids):
        step = _step(jobs[str(row[1])], row)
        steps[row[0]] = step
        step.job.steps.append(step)
    _add_members(ids, steps, tasks, samples)
    for job in jobs.values():
        for sample in job.samples:
            sample.steps.sort(key=lambda step: step.index)
        make_units(job)
    return list(jobs.values())


def _add_members(
    ids: Sequence[UUID], steps: dict[UUID, LiveStep], tasks: dict[UUID, LiveTask], samples: dict[UUID, LiveSample]
) -> None:
    nobody: dict[str, LiveSample] = {}
    for key, step_id, task_id, sample_id, run_uid, ok, error in _MEMBERS(ids):
        step = steps[step_id]
        job = step.job
        if sample_id is not None:
            sample = samples[sample_id]
        elif job.id in nobody:
            sample = nobody[job.id]
        else:
            sample = nobody[job.id] = LiveSample(None, job)
            job.samples.append(sample)
        uid = None if run_uid is None else str(run_uid)
        step.members.append(LiveMember(key, tasks[task_id], sample, uid, ok, error))
        sample.steps.append(step)
    for sample in nobody.values():
        sample.state = sample.stored = _state_of_steps(sample.steps)


def _state_of_steps(steps: list[LiveStep]) -> str:
    """Return the state of what stands for no sample: no row remembers it, but its steps do."""
    own = [step.state for step in steps if not any(member.task.cleanup for member in step.members)]
    if not own:
        # Nothing but what switches settings off: its success is nobody's.
        return SampleState.CANCELLED
    if StepState.CANCELLED in own:
        return SampleState.CANCELLED
    if StepState.FAILED in own or StepState.ABORTED in own:
        return SampleState.FAILED
    if all(state in STEP_FINAL for state in own):
        return SampleState.COMPLETED
    return SampleState.PLANNED if set(own) <= {StepState.WAITING} else SampleState.ACTIVE


def make_units(job: LiveJob) -> None:
    """Gather the job's steps into what is granted together."""
    units: dict[str, Unit] = {}
    for step in job.steps:
        step.unit = units.setdefault(step.block, Unit(step.block, []))
        step.unit.steps.append(step)
    for unit in units.values():
        unit.gather()
        # What earlier attempts did is not known any more.
        unit.touched = unit.first.attempt > 1
        key = next((member.task.key for member in unit.first.members if member.task.cleanup), "")
        unit.ends = key.removeprefix(ENDS) if key.startswith(ENDS) else ""
    job.units = list(units.values())


def _job(row: Sequence[Any]) -> LiveJob:
    pk, name, project, owner, username, state, reason, priority, deadline, simulated, spec, manifests, *rest = row
    job = LiveJob(
        str(pk), name, str(project), str(owner), username, state, state, reason, priority, deadline, simulated,
        int(spec.get("retries") or 0) if isinstance(spec, dict) else 0, manifests, *rest,
    )  # fmt: skip
    job.policies = policies_of(spec)
    job.expects = int(spec.get("expects") or 0) if isinstance(spec, dict) else 0
    return job


def _tasks(jobs: dict[str, LiveJob], rows: Iterable[Sequence[Any]]) -> dict[UUID, LiveTask]:
    tasks: dict[UUID, LiveTask] = {}
    for pk, job_id, index, *rest in rows:
        task = tasks[pk] = LiveTask(str(pk), *rest)
        if not task.cleanup:
            task.policy = jobs[str(job_id)].policies.get(index)
        jobs[str(job_id)].tasks.append(tasks[pk])
    return tasks


def _step(job: LiveJob, row: Sequence[Any]) -> LiveStep:
    pk, _, index, name, module, task, action, person, dormant, block, state, reason, attempt, *rest = row
    devices, takes, frees, settings, consumes, adds, needs, *times, question = rest
    wants = [Need(n["step"], n.get("min_s") or 0.0, n.get("max_s"), n.get("on_breach") or "flag") for n in needs]
    step = LiveStep(
        str(pk), job, index, name, module, task, action, dormant, str(block), state, reason, attempt,
        devices, takes, frees, settings, consumes, adds, wants, *times,
    )  # fmt: skip
    step.stored, step.person, step.question = state, person, question
    return step


def load_lab(state: LabState) -> None:
    """Read devices and places."""
    for device in Device.objects.all():
        state.devices[device.id] = LiveDevice(
            device.id,
            device.host,
            device.title,
            device.modules,
            device.state,
            device.state,
            device.reason,
            device.attempt_id,
            device.since_at,
            device.quarantine,
        )
    held = []
    for resource, index, sample, since in Place.objects.values_list("resource", "index", "sample_id", "since_lab_s"):
        state.places.add(resource, index, None if sample is None else str(sample))
        if sample is not None:
            held.append((since or 0.0, resource, index, str(sample)))
    state.held_at_start = sorted(held)


def seat_samples(state: LabState, samples: Iterable[LiveSample]) -> None:
    """Tell samples which places they hold, in the order in which they took them.

    Accepting a job claims the places where its samples are loaded, or where an earlier job left them.
    """
    wanted = {sample.id: sample for sample in samples}
    for _, resource, index, sample_id in state.held_at_start:
        if sample_id in wanted:
            wanted[sample_id].places[resource] = index
    for sample in wanted.values():
        if sample.id is None or "index" not in sample.source or sample.state != SampleState.PLANNED:
            continue
        place, number = str(sample.source["place"]), int(sample.source["index"])
        if place in sample.places:
            continue
        if Place.objects.filter(resource=place, index=number, sample_id=sample.id).exists():
            state.places.move_to(place, number, sample)
