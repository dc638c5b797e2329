"""Standby steps: they need nobody, and end by lab time, also when the scheduler was away meanwhile."""

from __future__ import annotations

import heapq

from scheduler.process.flow import Flow
from scheduler.process.live import LiveStep, Unit
from scheduler.states import StepState


class Standby:
    """The timers of running standby steps."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self._ends: list[tuple[float, str, LiveStep]] = []

    def follow(self, unit: Unit) -> None:
        """Set the timer of a standby step that runs."""
        step = unit.first
        if unit.standby and step.state == StepState.RUNNING and step.started_s is not None:
            heapq.heappush(self._ends, (step.started_s + step.duration_s, step.id, step))

    def next_s(self) -> float | None:
        """Return the lab time at which the next one ends."""
        while self._ends and self._ends[0][2].state != StepState.RUNNING:
            heapq.heappop(self._ends)
        return self._ends[0][0] if self._ends else None

    def end_due(self, now_s: float) -> bool:
        """End those that are over, at the time at which they were over; return whether any was."""
        ended = False
        while (end_s := self.next_s()) is not None and end_s <= now_s:
            step = heapq.heappop(self._ends)[2]
            for member in step.members:
                member.ok = True
            self.flow.complete(step, end_s)
            self.flow.plan.ended(step.unit, end_s)
            ended = True
        return ended
