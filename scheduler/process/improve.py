"""The planner child process: improves the plan in the background, and costs nothing while nothing changes."""

from __future__ import annotations

from collections.abc import Callable

from scheduler.process.live import LabState
from scheduler.process.plan import Plan


class Improver:
    """Offers the plan to the child, and takes better ones over."""

    def __init__(self, on_answer: Callable[[], None]) -> None:
        self._on_answer = on_answer

    def offer(self, plan: Plan, state: LabState, now_s: float) -> None:
        """Let the child look at the plan if it has changed."""

    def adopt(self, plan: Plan, state: LabState, now_s: float) -> None:
        """Take over a better plan, if the child has found one."""

    def stop(self) -> None:
        """End the child."""
