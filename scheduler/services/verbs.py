"""Which verbs are legal in which state of a job, for all who ask and for the one who applies them."""

from __future__ import annotations

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

_REACHED: dict[str, frozenset[str]] = {
    "hold": frozenset({JobState.HELD}),
    "release": frozenset({JobState.QUEUED, JobState.RUNNING}),
    "pause": frozenset({JobState.PAUSED}),
    "resume": frozenset({JobState.RUNNING}),
}


def already(verb: str, state: str, how: str) -> bool:
    """Tell whether a job is as the verb would have it, so that asking again changes nothing.

    Parameters
    ----------
    how
        How the job was asked to end, or empty.
    """
    return how == verb if verb in ENDINGS else state in _REACHED[verb]


def refusal(state: str) -> str:
    """Return the sentence that names the state and what may be asked for instead."""
    verbs = ", ".join(sorted(JOB_VERBS.get(state, frozenset()))) or "nothing but rerun"
    return f"This is {state}. What can be asked for now: {verbs}."
