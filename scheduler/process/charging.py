"""What the ends of steps and samples cost those for whom they were done."""

from __future__ import annotations

from collections.abc import Iterable

from scheduler.accounting.ledger import Charges
from scheduler.process.live import LiveSample, LiveStep
from scheduler.states import SAMPLE_FINAL, StepState

_WORKED = (StepState.COMPLETED, StepState.FAILED, StepState.ABORTED)


def module_time_s(step: LiveStep) -> float:
    """Return for how long (lab seconds) a step that ends now has kept its module busy; 0 if it did not.

    What lay interrupted until somebody decided is charged as long as it was expected to take.
    """
    ended_now = step.stored != step.state and step.state in _WORKED
    if not ended_now or step.standby or step.started_s is None:
        return 0.0
    if step.stored == StepState.INTERRUPTED or step.ended_s is None:
        return step.duration_s
    return max(0.0, step.ended_s - step.started_s)


def charge(charges: Charges, steps: Iterable[LiveStep], samples: Iterable[LiveSample]) -> None:
    """Charge the module time of steps that end in this turn, and count the samples that do."""
    for step in steps:
        charges.add(step.job.owner_id, step.job.project_id, "module", step.module, module_time_s(step))
    for sample in samples:
        if sample.state in SAMPLE_FINAL and sample.stored != sample.state:
            charges.add(sample.job.owner_id, sample.job.project_id, "sample", sample.state, 1.0)
