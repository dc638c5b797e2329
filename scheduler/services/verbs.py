"""Which verbs are legal in which state of a job, for all who ask and for the one who applies them."""

from __future__ import annotations

from typing import Any, Protocol

from scheduler.states import JobState

ENDINGS = ("cancel", "stop", "abort", "halt")
"""Ways to end a job: drop it; keep what was measured, as a success; clean up, as a failure; no clean-up (operators)."""
CONTROLS = ("hold", "release", "pause", "resume", *ENDINGS)

JOB_VERBS: dict[str, frozenset[str]] = {
    JobState.AWAITING_APPROVAL: frozenset({"cancel", "change"}),
    JobState.QUEUED: frozenset({"cancel", "change", "hold"}),
    JobState.HELD: frozenset({"cancel", "change", "release", "stop", "abort", "halt"}),
    JobState.RUNNING: frozenset({"cancel", "hold", "pause", "stop", "abort", "halt"}),
    JobState.PAUSED: frozenset({"cancel", "resume", "stop", "abort", "halt"}),
    JobState.NEEDS_OPERATOR: frozenset({"cancel", "abort", "halt", "decide", "collect"}),
    JobState.CANCELLING: frozenset({"halt"}),
}
"""What may be asked for in which state of a job. Every job may be done again (``rerun``), also one that is final."""
_MEANWHILE: dict[str, frozenset[str]] = {
    "": frozenset({"hold", "pause"}),
    JobState.HELD: frozenset({"release"}),
    JobState.PAUSED: frozenset({"resume"}),
}
"""What else may be asked for while a job needs an operator: the rest of it goes on, unless it is to go back to this."""

_REACHED: dict[str, frozenset[str]] = {
    "hold": frozenset({JobState.HELD}),
    "release": frozenset({JobState.QUEUED, JobState.RUNNING}),
    "pause": frozenset({JobState.PAUSED}),
    "resume": frozenset({JobState.RUNNING}),
}


class Standing(Protocol):
    """What decides about verbs: a job as it is stored, or as the scheduler holds it."""

    state: str
    back_to: str
    ending: Any


def legal(job: Standing) -> frozenset[str]:
    """Return what may be asked for."""
    verbs = JOB_VERBS.get(job.state, frozenset())
    if job.state == JobState.NEEDS_OPERATOR and not job.ending:
        verbs |= _MEANWHILE[job.back_to]
    return verbs


def already(verb: str, job: Standing) -> bool:
    """Tell whether a job is as the verb would have it, so that asking again changes nothing."""
    if verb in ENDINGS:
        return bool(job.ending) and job.ending["how"] == verb
    resting = job.back_to if job.state == JobState.NEEDS_OPERATOR else ""
    return (resting or job.state) in _REACHED[verb]


def refusal(state: str, possible: frozenset[str]) -> str:
    """Return the sentence that names the state and what may be asked for instead."""
    verbs = ", ".join(sorted(possible)) or "nothing but rerun"
    return f"This is {state}. What can be asked for now: {verbs}."
