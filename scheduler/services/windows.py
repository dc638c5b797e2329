"""Windows that waiting would break: what must start within a time after something that is done or under way."""

from __future__ import annotations

from dataclasses import dataclass

from scheduler.models import Job, Step
from scheduler.states import StepState

_BEGUN = frozenset({StepState.DISPATCHED, StepState.RUNNING, StepState.PAUSING, StepState.PAUSED, StepState.COMPLETED})


@dataclass(frozen=True)
class Window:
    """A window that is open, or opens without anybody's doing.

    Attributes
    ----------
    step
        What has to start.
    after
        The step after whose end it has to.
    within_s
        How soon, lab seconds.
    latest_lab_s
        Until when; expected, as long as the step before runs.
    on_breach
        What happens otherwise: ``flag``, ``fail`` or ``ask``.
    """

    step: Step
    after: Step
    within_s: float
    latest_lab_s: float | None
    on_breach: str


def at_risk(job: Job) -> list[Window]:
    """Return the windows that a hold or a pause would break if it lasted beyond them, the most urgent first."""
    steps = {str(step.pk): step for step in job.steps.all()}
    found = []
    for step in steps.values():
        if step.state != StepState.WAITING or step.dormant:
            continue
        for need in step.needs:
            before = steps.get(need["step"])
            if need.get("max_s") is None or before is None or before.state not in _BEGUN:
                continue
            end_s = before.ended_lab_s if before.ended_lab_s is not None else before.planned_end_lab_s
            latest_s = None if end_s is None else end_s + need["max_s"]
            found.append(Window(step, before, need["max_s"], latest_s, need.get("on_breach") or "flag"))
    return sorted(found, key=lambda window: window.latest_lab_s or 0.0)
