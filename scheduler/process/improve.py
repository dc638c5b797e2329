"""Background improvement: a snapshot goes to the planner child, a better order comes back.

The child is asked when the plan has changed and something waits; again, with more time, as long as that pays; then not
until the next change, so that an idle lab costs nothing. It is started when it is first needed, ended when it has been
idle for a while, and killed when it takes far too long. First of all it says how good the plan is that it was given.

Whatever a plan costs the loop (a snapshot, and placing everything anew to take a better order over), the child gets
many times as long: a large plan is improved more rarely, and nobody who submits notices.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import structlog

from scheduler.planning.policies import POLICIES
from scheduler.process.child import NICENESS
from scheduler.process.live import LabState
from scheduler.process.plan import Plan
from scheduler.process.spawned import Spawned

log = structlog.get_logger("octolab.scheduler")

FIRST_S = 0.3
MOST_S = 5.0
"""Wall time that the child gets: at first, and when more of it still pays."""
COST_TIMES = 20
"""It gets at least so many times what a repair of the plan costs the loop."""
QUIET_S = 0.2
"""The plan has to stand still for so long before it is worth improving …"""
PATIENCE_S = 1.0
"""… but in a lab that never stands still it is improved all the same, after so long."""
KILL_S = 60.0
IDLE_S = 30.0
WORKERS = max(1, (os.cpu_count() or 1) - 1)
"""Threads of the solver: one core is left to those who wait for an answer."""


class Improver:
    """Offers the plan to the child, and takes better ones over.

    Parameters
    ----------
    on_answer
        Called from another thread when the child has answered.
    policy
        What the child does.
    """

    def __init__(self, on_answer: Callable[[], None], policy: str = "") -> None:
        self._policy = policy or ("optimal" if find_spec(POLICIES["optimal"]) else "masking")
        self._child = Spawned("improve", NICENESS, on_answer)
        self._number = 0
        self._asked_s: float | None = None
        self._budget_s = FIRST_S
        self._offered: int | None = None
        """What `Plan.changes_seen` was when the plan was last offered."""
        self._judged = 0
        self._seen = 0
        self._seen_s = 0.0
        self._last_s = 0.0
        self.verdict: dict[str, Any] | None = None
        """How good the child has found the plan that it was offered."""

    @property
    def pid(self) -> int | None:
        """Process id of the child, if it runs."""
        return self._child.pid

    def offer(self, plan: Plan, state: LabState, now_s: float, version: int = 0) -> None:
        """Let the child look at the plan, which has this version, if that may pay."""
        clock_s = time.monotonic()
        if plan.changes_seen != self._seen:
            self._seen, self._seen_s = plan.changes_seen, clock_s
        if self._asked_s is not None:
            if self.pid is None:
                self._asked_s = None
            elif clock_s - self._asked_s > KILL_S:
                log.warning("planner child takes too long and is killed")
                self.stop()
            return
        hopeful = self._offered != plan.changes_seen and worth_it(state)
        if not (hopeful or (version > self._judged and state.jobs)):
            self._rest(clock_s)
            return
        restless = clock_s - self._seen_s < QUIET_S and clock_s - self._last_s < PATIENCE_S
        if restless or (not hopeful and clock_s - self._last_s < COST_TIMES * plan.cost_s):
            return
        snapshot = plan.snapshot(now_s)
        if snapshot is not None:
            self._ask(*snapshot, version, plan.changes_seen, improve=hopeful, least_s=COST_TIMES * plan.cost_s)

    def _ask(self, problem: Any, plan: Any, version: int, changes: int, *, improve: bool, least_s: float) -> None:
        self._number += 1
        self._asked_s = self._last_s = time.monotonic()
        self._judged = version
        question = {"number": self._number, "ask": "judge", "version": version, "problem": problem, "plan": plan}
        if not improve:
            self._child.ask({**question, "last": True})
            return
        self._offered = changes
        search = {
            "number": self._number,
            "ask": "improve",
            "policy": self._policy,
            "wall_s": max(self._budget_s, least_s),
            "workers": WORKERS,
            "seed": self._number,
            "last": True,
        }
        self._child.ask(question, search)

    def adopt(self, plan: Plan, now_s: float) -> bool:
        """Take over a better order, if the child has found one; return whether the plan has changed."""
        changed = False
        for answer in self._child.answers():
            if answer.get("number") != self._number:
                continue
            if answer.get("last"):
                self._asked_s = None
            if "error" in answer:
                log.warning("planner child could not improve the plan", error=answer["error"])
                continue
            self.verdict = answer.get("verdict", self.verdict)
            if "starts" in answer:
                changed = self._try(answer["starts"], plan, now_s)
        return changed

    def _try(self, starts: dict[str, int], plan: Plan, now_s: float) -> bool:
        if not starts or not plan.try_order(starts, now_s):
            self._budget_s = FIRST_S
            return False
        # It paid, so it is asked again, with more time.
        self._budget_s = min(MOST_S, self._budget_s * 3)
        self._offered = None
        return True

    def stop(self) -> None:
        """End the child at once; it holds nothing that is not held here."""
        self._child.stop()
        self._asked_s = None

    def _rest(self, clock_s: float) -> None:
        if self.pid is not None and clock_s - self._last_s > IDLE_S:
            self.stop()


def worth_it(state: LabState) -> bool:
    """Tell whether another order is possible at all: at least two jobs have something that waits."""
    jobs = 0
    for job in state.jobs.values():
        jobs += any(unit.queued and unit.devices for unit in job.units)
        if jobs > 1:
            return True
    return False
