"""What ends a setting: as soon as nobody holds it, the task that its manifest names switches it off.

Such tasks are expanded with each job, dormant like clean-up, one for each sample that may be the last to need
it. They go the way of every other step: planned, ordered, under the claim of their device.

A setting is switched off once. While that is under way nobody takes the setting; a switch-off that failed is done
again, and after a few failures an operator decides. What is known to be off, because nothing has touched it since, is
not switched off again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.process.live import LiveJob, LiveStep, Unit
from scheduler.states import StepState

if TYPE_CHECKING:
    from scheduler.process.flow import Flow

MOST_FAILURES = 3
"""A switch-off that has failed so often is left to an operator."""
PAUSE_S = 2.0
"""Lab seconds before it is tried again; doubled each time."""


class Endings:
    """Calls for the end of settings, and takes that back if somebody needs one again."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self._called = flow.state.endings
        self._off: set[str] = set()
        """Settings that were switched off, and not touched since. After a restart nobody knows."""

    def resume(self, unit: Unit) -> None:
        """Take in a unit that an earlier scheduler has called for."""
        if unit.ends and not (unit.first.dormant or unit.first.final):
            self._called[unit.ends] = unit

    def call(self, key: str, job: LiveJob) -> None:
        """Have a setting switched off in the name of the job that held it last; not if that is halted."""
        if job.how == "halt" or job.final or key in self._called or key in self._off:
            return
        unit = next((unit for unit in job.units if unit.ends == key and unit.first.dormant), None)
        if unit is None:
            return
        self._set_dormant(unit, False)
        self._called[key] = unit
        self.flow.plan.called([unit])
        self.flow.grants.add(unit)

    def take_back(self, key: str) -> None:
        """Somebody holds the setting again: who has it last then will have it switched off."""
        unit = self._called.get(key)
        if unit is not None and unit.waiting:
            del self._called[key]
            self.flow.grants.remove(unit)
            self._set_dormant(unit, True)
            self.flow.plan.dropped(unit.first)
            self.flow.settle_job(unit.job)

    def touched(self, unit: Unit) -> None:
        """Note that a unit may have switched on what it holds."""
        self._off.difference_update(unit.settings)

    def over(self, step: LiveStep) -> None:
        """Note that a step is final: if it ends a setting, others may take that again."""
        unit = step.unit
        if self._called.get(unit.ends) is not unit or any(not one.final for one in unit.steps):
            return
        del self._called[unit.ends]
        if unit.steps[-1].state == StepState.COMPLETED:
            self._off.add(unit.ends)
        self.flow.grants.wake_key(("setting", unit.ends))

    def _set_dormant(self, unit: Unit, dormant: bool) -> None:
        for step in unit.steps:
            step.dormant = dormant
            self.flow.changes.touch(step)
        unit.job.steps_total += -len(unit.steps) if dormant else len(unit.steps)
        self.flow.changes.touch(unit.job)
