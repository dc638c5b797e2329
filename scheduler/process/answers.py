"""Answers to those who wait: where a new job stands, and where one that is not kept would stand."""

from __future__ import annotations

from typing import Any

import structlog

from scheduler.planning.editable import EditableTable
from scheduler.planning.table import Refusal, say_refusal
from scheduler.process.live import LabState, LiveJob, LiveMember, LiveSample, LiveStep, LiveTask, Need
from scheduler.process.load import make_units
from scheduler.process.plan import Plan
from scheduler.process.problem import make_job, seconds
from scheduler.states import JobState, StepState

log = structlog.get_logger("octolab.scheduler")


def placement_of(job: LiveJob) -> dict[str, Any]:
    """Return what the plan says about a job."""
    return {
        "start_lab_s": job.predicted_start_s,
        "finish_lab_s": job.predicted_finish_s,
        "start_range": job.start_range,
        "finish_range": job.finish_range,
    }


def preview(plan: Plan, state: LabState, question: dict[str, Any], now_s: float) -> dict[str, Any]:
    """Place a job in a copy of the plan, and forget it again."""
    try:
        job = job_of(question, now_s)
    except (KeyError, TypeError, ValueError) as error:
        log.warning("preview not understood", error=repr(error)[:200])
        return {"reason": "the preview was not understood"}
    plan.predictions.study(job)
    return _placed(plan.table_for(job, now_s), state, job, now_s)


def _placed(table: EditableTable, state: LabState, live: LiveJob, now_s: float) -> dict[str, Any]:
    """Place a job, see where it stands, and take it out again."""
    job = make_job(state, live, table.now, set())
    if job is None:
        return {"start_lab_s": now_s, "finish_lab_s": now_s, "steps": {}}
    try:
        if (refusal := table.place(table.add_job(job))) is not None:
            return {"reason": _say(table, refusal, live)}
        spans = {step.id: _span(table, step.id) for step in job.steps()}
    finally:
        table.drop_job(live.id)
    return {
        "start_lab_s": min(span[0] for span in spans.values()),
        "finish_lab_s": max(span[1] for span in spans.values()),
        "steps": spans,
    }


def _span(table: EditableTable, step: str) -> tuple[float, float]:
    unit = table.units[table.unit_of[step]]
    variant, at = unit.variants[table.chosen[unit.index]], unit.steps.index(step)
    start = table.start[unit.index] + variant.offsets[at]
    return seconds(start), seconds(start + variant.durations[at])


def _say(table: EditableTable, refusal: Refusal, live: LiveJob) -> str:
    """Say why a job has no place, with the names of its steps instead of their ids."""
    text = say_refusal(table, refusal)
    for step in live.steps:
        text = text.replace(step.id, f"`{step.task_name} · {step.name}`")
    return text


def job_of(question: dict[str, Any], now_s: float) -> LiveJob:
    """Return the job that a question brings along, as if it had been loaded."""
    row = question["job"]
    job = LiveJob(
        id=str(row["id"]), name="", project_id="", owner_id="", owner="", state=JobState.QUEUED, stored=JobState.QUEUED,
        reason="", priority=int(row["priority"]), deadline_at=None, simulated=True, retries=0,
        manifests=dict(row["manifests"]), submitted_s=float(row.get("submitted") or now_s), started_s=None,
        finished_s=None, finished_at=None, predicted_start_s=None, predicted_finish_s=None, samples_total=0,
        samples_failed=0, steps_total=0, steps_done=0, placed=False,
    )  # fmt: skip
    steps: dict[str, LiveStep] = {}
    for s in question["steps"]:
        needs = [Need(n["step"], n.get("min_s") or 0.0, n.get("max_s")) for n in s["needs"]]
        steps[s["id"]] = LiveStep(
            s["id"], job, s["index"], s["name"], s["module"], s["task_name"], s["action"], s["dormant"], s["block"],
            StepState.WAITING, "", 0, s["devices"], s["takes"], s["frees"], s["settings"], {}, None, needs,
            float(s["duration_s"]), None, None, None, None, None, None, None,
        )  # fmt: skip
    job.steps = sorted(steps.values(), key=lambda step: step.index)
    samples: dict[str | None, LiveSample] = {}
    for number, (step_id, task_id, sample_id) in enumerate(question["members"]):
        sample = samples.setdefault(sample_id, LiveSample(sample_id, job))
        task = LiveTask(task_id, "", "", "", {}, None, False)
        steps[step_id].members.append(LiveMember(number, task, sample))
        sample.steps.append(steps[step_id])
    for sample in samples.values():
        sample.steps.sort(key=lambda step: step.index)
    job.samples = list(samples.values())
    make_units(job)
    return job
