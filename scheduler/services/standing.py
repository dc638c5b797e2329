"""Why a job stands where it does in the plan, in numbers and in words."""

from __future__ import annotations

from typing import Any

from scheduler.models import Job
from scheduler.states import JOB_FINAL, JobState


def standing(job: Job) -> dict[str, Any]:
    """Return the parts of a job's weight as the plan used them last, and the sentences that they come to.

    Parts are doublings of the weight; uses are hours of module time (lab time), per share of the project.
    """
    parts = job.weight or {}
    waiting = job.started_lab_s is None and job.state not in JOB_FINAL
    return {
        "waiting": waiting,
        "jobs_before": parts.get("turn") if waiting else None,
        "weight": parts.get("weight"),
        "priority": parts.get("priority"),
        "age": parts.get("age"),
        "deadline": parts.get("deadline"),
        "fair_share": parts.get("fair"),
        "user_recent_h": _hours(parts.get("user_s")),
        "project_recent_h": _hours(parts.get("project_s")),
        "project_ahead_h": _hours(parts.get("ahead_s")),
        "half_life_h": parts.get("half_life_h"),
        "as_of_lab_s": parts.get("lab_s"),
        "share": job.project.share,
        "reasons": _reasons(job, parts, waiting),
    }


def _hours(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds / 3600, 3)


def _reasons(job: Job, parts: dict[str, Any], waiting: bool) -> list[str]:
    if job.state in JOB_FINAL:
        return ["The job is over."]
    if not waiting:
        return ["The job has begun: it keeps its place among those that are under way."]
    if job.state == JobState.AWAITING_APPROVAL:
        return ["An operator has to approve it before it is planned."]
    if not parts:
        return ["The scheduler has not placed it yet."]
    number = int(parts["turn"])
    reasons = [
        "It was next among the jobs that had not begun when the plan was last made."
        if number == 0
        else f"{number} {'job' if number == 1 else 'jobs'} that had not begun when the plan was last made go before it."
    ]
    if parts["fair"] < 0:
        reasons.append(
            f"Fair share lowers its weight by {-parts['fair']:.2f} doublings: of late its project has used "
            f"{parts['project_s'] / 3600:.2f} h of module time per share, and {parts['ahead_s'] / 3600:.2f} h more of "
            "the project's are under way or stand before it."
        )
    if parts["priority"]:
        reasons.append(f"Its priority {job.priority:+d} counts {parts['priority']:+.2f} doublings.")
    if parts["age"] >= 0.005:
        reasons.append(f"Its age lifts it by {parts['age']:.2f} doublings.")
    if parts["deadline"]:
        reasons.append(f"Its deadline lifts it by {parts['deadline']:.2f} doublings.")
    return reasons
