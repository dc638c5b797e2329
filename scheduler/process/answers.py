"""Jobs that people ask about, and what those who wait are told of theirs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from scheduler.process.live import LiveJob, LiveMember, LiveSample, LiveStep, LiveTask, Need
from scheduler.process.load import make_units
from scheduler.states import JobState, StepState


def placement_of(job: LiveJob) -> dict[str, Any]:
    """Return what the plan says about a job."""
    return {
        "start_lab_s": job.predicted_start_s,
        "finish_lab_s": job.predicted_finish_s,
        "start_range": job.start_range,
        "finish_range": job.finish_range,
    }


def job_of(question: dict[str, Any], now_s: float) -> LiveJob:
    """Return the job that a question brings along, as if it had been loaded."""
    row = question["job"]
    job = LiveJob(
        id=str(row["id"]), name="", project_id=str(row.get("project", "")), owner_id=str(row.get("owner", "")),
        owner="", state=JobState.QUEUED, stored=JobState.QUEUED, reason="", priority=int(row["priority"]),
        deadline_at=datetime.fromisoformat(row["deadline"]) if row.get("deadline") else None, simulated=True, retries=0,
        manifests=dict(row["manifests"]), submitted_s=float(row.get("submitted") or now_s), started_s=None,
        finished_s=None, finished_at=None, predicted_start_s=None, predicted_finish_s=None, samples_total=0,
        samples_failed=0, steps_total=0, steps_done=0, placed=False, expects=int(row.get("expects") or 0),
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
