"""The advisor: a second planner child, which answers people's questions about the plan while the loop goes on.

It gets a copy of the plan in force when a question needs one, and keeps it for the next. It holds nothing that is not
held here; when it dies or takes too long, only answers are lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from scheduler.planning.problem import Problem
from scheduler.process.plan import Plan
from scheduler.process.spawned import Spawned

log = structlog.get_logger("octolab.scheduler")

NICENESS = 3
KILL_S = 20.0
_WARM_UP = "warm up"
SNAPSHOT_S = 1.0
"""A copy of the plan is good for so long (real seconds), if nothing has changed that could be planned otherwise."""


class Advisor:
    """Asks the child, and collects its answers.

    Parameters
    ----------
    on_answer
        Called from another thread when the child has answered.
    """

    def __init__(self, on_answer: Callable[[], None]) -> None:
        self._on_answer = on_answer
        self._child = Spawned("advise", NICENESS, self._answered)
        self._asked: dict[str, float] = {}
        self._seen = -1
        self._sent_s = 0.0
        self.warm = threading.Event()
        """Set when the child has answered for the first time: it has loaded its solvers."""

    def ask(self, question: Mapping[str, Any], plan: Plan, now_s: float) -> None:
        """Pass a question on, with the plan in force if the child does not know it yet."""
        clock_s = time.monotonic()
        row = dict(question)
        known = self._child.pid is not None and self._seen == plan.changes_seen
        if not (known and clock_s - self._sent_s < SNAPSHOT_S):
            row["problem"], row["plan"] = plan.present(now_s)
            self._seen, self._sent_s = plan.changes_seen, clock_s
        self.pass_on(row)

    def pass_on(self, question: Mapping[str, Any]) -> None:
        """Pass on a question that needs no plan."""
        if self._child.pid is None:
            self._asked.clear()
        self._asked[str(question["id"])] = time.monotonic()
        self._child.ask(question)

    def warm_up(self) -> None:
        """Have the child load its solvers, so that nobody's question waits for that."""
        self.pass_on({"id": _WARM_UP, "ask": "feasible", "job": Problem((), ())})

    def forget(self) -> None:
        """Have the plan sent again with the next question: it was read anew."""
        self._seen = -1

    def answers(self) -> list[dict[str, Any]]:
        """Return what the child has said since the last call."""
        found = self._child.answers()
        for answer in found:
            self._asked.pop(str(answer.get("id")), None)
        return [answer for answer in found if answer.get("id") != _WARM_UP]

    def look(self) -> None:
        """End a child that takes too long."""
        if self._asked and time.monotonic() - min(self._asked.values()) > KILL_S:
            log.warning("the advisor takes too long and is ended")
            self.stop()

    def stop(self) -> None:
        """End the child at once."""
        self._child.stop()
        self._asked.clear()

    def _answered(self) -> None:
        self.warm.set()
        self._on_answer()
