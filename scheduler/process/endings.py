"""What ends a setting: as soon as nobody holds it, the task that its manifest names switches it off.

Such tasks are expanded with each job, dormant like clean-up, one for each sample that may be the last to need
it. They go the way of every other step: planned, ordered, under the claim of their device.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from scheduler.process.live import LiveJob, Unit

if TYPE_CHECKING:
    from scheduler.process.flow import Flow


class Endings:
    """Calls for the end of settings, and takes that back if somebody needs one again."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self._called: dict[str, list[Unit]] = defaultdict(list)

    def resume(self, unit: Unit) -> None:
        """Take in a unit that an earlier scheduler has called for."""
        if unit.ends and unit.waiting:
            self._called[unit.ends].append(unit)

    def call(self, key: str, job: LiveJob) -> None:
        """Have a setting switched off in the name of the job that held it last; not if that is halted."""
        if job.how == "halt" or job.final or any(unit.waiting for unit in self._called[key]):
            return
        unit = next((unit for unit in job.units if unit.ends == key and unit.first.dormant), None)
        if unit is None:
            return
        self._set_dormant(unit, False)
        self._called[key] = [unit]
        self.flow.plan.called([unit])
        self.flow.grants.add(unit)

    def take_back(self, key: str) -> None:
        """Somebody holds the setting again: who has it last then will have it switched off."""
        for unit in self._called.pop(key, ()):
            if unit.waiting:
                self.flow.grants.remove(unit)
                self._set_dormant(unit, True)
                self.flow.plan.dropped(unit.first)
                self.flow.settle_job(unit.job)

    def _set_dormant(self, unit: Unit, dormant: bool) -> None:
        for step in unit.steps:
            step.dormant = dormant
            self.flow.changes.touch(step)
        unit.job.steps_total += -len(unit.steps) if dormant else len(unit.steps)
        self.flow.changes.touch(unit.job)
