"""The advisor: a second planner child, which answers people's questions about the plan while the loop goes on.

It gets a picture of the plan in force when a question needs one, and keeps it for the next. It holds nothing that is
not held here; when it dies or takes too long, only answers are lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import structlog

from scheduler.planning.problem import Problem
from scheduler.process.plan import Plan
from scheduler.process.spawned import Spawned

log = structlog.get_logger("octolab.scheduler")

NICENESS = 3
KILL_S = 20.0
_WARM_UP = "warm up"
FRESH_S = 1.0
"""A picture of the plan is good for so long (real seconds), if nothing has changed that could be planned otherwise …"""
COST_TIMES = 20
"""… and in any case for so many times what it costs the loop to take one."""
DEAR_S = 0.01
"""One that costs more waits until nothing else is to be done …"""
PATIENCE_S = 0.2
"""… but no longer than this."""


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
        self._waiting: list[dict[str, Any]] = []
        """Questions for which a picture is still to be taken."""
        self._waiting_s = 0.0
        self._seen = -1
        self._taken_s = 0.0
        self._cost_s = 0.0
        self._steps: Collection[str] = ()
        self.warm = threading.Event()
        """Set when the child has answered for the first time: it has loaded its solvers."""

    def ask(self, question: Mapping[str, Any], plan: Plan, now_s: float) -> None:
        """Pass a question on, with the plan in force if the child does not know it well enough."""
        if self._knows(question, plan):
            self.pass_on(question)
            return
        if not self._waiting:
            self._waiting_s = time.monotonic()
        self._waiting.append(dict(question))
        if self._cost_s <= DEAR_S:
            self._take_picture(plan, now_s)

    def _knows(self, question: Mapping[str, Any], plan: Plan) -> bool:
        if self._child.pid is None or self._seen < 0:
            return False
        age_s = time.monotonic() - self._taken_s
        if self._seen == plan.changes_seen and age_s < FRESH_S:
            return True
        good = self._cost_s > DEAR_S and age_s < COST_TIMES * self._cost_s
        return good and question.get("step", "") in self._steps

    def _take_picture(self, plan: Plan, now_s: float) -> None:
        began_s = time.monotonic()
        picture = plan.picture(now_s)
        self._seen, self._taken_s = plan.changes_seen, time.monotonic()
        self._cost_s, self._steps = self._taken_s - began_s, {"", *picture["plan"].starts}
        for question in self._waiting:
            self.pass_on({**question, **picture})
            picture = {}
        self._waiting.clear()

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

    def look(self, plan: Plan, now_s: float, *, idle: bool) -> None:
        """Take a picture if one is wanted and nothing else is to be done; end a child that takes too long."""
        if self._waiting and (idle or time.monotonic() - self._waiting_s > PATIENCE_S):
            self._take_picture(plan, now_s)
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
