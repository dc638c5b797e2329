"""Background improvement: a snapshot goes to the planner child, a better order comes back.

The child is asked when the plan has changed and something waits; again, with more time, as long as that pays; then not
until the next change, so that an idle lab costs nothing. It is started when it is first needed, ended when it has been
idle for a while, and killed when it takes far too long.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import structlog

from scheduler.planning.codec import to_data
from scheduler.planning.policies import POLICIES
from scheduler.process.child import NICENESS
from scheduler.process.live import LabState
from scheduler.process.plan import Plan

log = structlog.get_logger("octolab.scheduler")

FIRST_S = 0.3
MOST_S = 5.0
"""Wall time that the child gets: at first, and when more of it still pays."""
QUIET_S = 0.2
"""The plan has to stand still for so long before it is worth improving …"""
PATIENCE_S = 5.0
"""… but in a lab that never stands still it is improved all the same, this often."""
KILL_S = 60.0
IDLE_S = 30.0
DEAREST_S = 0.1
"""A plan whose repair takes longer than this is not improved: the loop would stand still for it."""


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
        self._on_answer = on_answer
        self._policy = policy or ("optimal" if find_spec(POLICIES["optimal"]) else "masking")
        self._child: subprocess.Popen[str] | None = None
        self._answer: dict[str, Any] | None = None
        self._number = 0
        self._asked_s: float | None = None
        self._budget_s = FIRST_S
        self._offered: int | None = None
        """What `Plan.changes_seen` was when the plan was last offered."""
        self._seen = 0
        self._seen_s = 0.0
        self._last_s = 0.0
        self.verdict: dict[str, Any] | None = None
        """How good the child has found the plan that it was offered."""

    @property
    def pid(self) -> int | None:
        """Process id of the child, if it runs."""
        return self._child.pid if self._child is not None and self._child.poll() is None else None

    def offer(self, plan: Plan, state: LabState, now_s: float, version: int = 0) -> None:
        """Let the child look at the plan, which has this version, if that may pay."""
        clock_s = time.monotonic()
        if plan.changes_seen != self._seen:
            self._seen, self._seen_s = plan.changes_seen, clock_s
        if self._asked_s is not None:
            if clock_s - self._asked_s > KILL_S:
                log.warning("planner child takes too long and is killed")
                self.stop()
            return
        if self._offered == plan.changes_seen or plan.cost_s > DEAREST_S or not worth_it(state):
            self._rest(clock_s)
            return
        if clock_s - self._seen_s < QUIET_S and clock_s - self._last_s < PATIENCE_S:
            return
        snapshot = plan.snapshot(now_s)
        if snapshot is None:
            return
        problem, incumbent = snapshot
        self._offered, self._last_s = plan.changes_seen, clock_s
        self._number += 1
        question = {
            "number": self._number,
            "version": version,
            "problem": to_data(problem),
            "plan": to_data(incumbent),
            "policy": self._policy,
            "wall_s": self._budget_s,
            "seed": self._number,
        }
        self._send(json.dumps(question))

    def adopt(self, plan: Plan, now_s: float) -> bool:
        """Take over a better order, if the child has found one; return whether the plan has changed."""
        answer, self._answer = self._answer, None
        if answer is None:
            return False
        self._asked_s = None
        if "error" in answer:
            log.warning("planner child could not improve the plan", error=answer["error"])
            return False
        self.verdict = answer.get("verdict")
        if not plan.try_order(answer["starts"], now_s):
            self._budget_s = FIRST_S
            return False
        # It paid, so it is asked again, with more time.
        self._budget_s = min(MOST_S, self._budget_s * 3)
        self._offered = None
        return True

    def stop(self) -> None:
        """End the child at once; it holds nothing that is not held here."""
        child, self._child = self._child, None
        self._asked_s, self._answer = None, None
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    pipe.close()

    def _rest(self, clock_s: float) -> None:
        if self._child is not None and clock_s - self._last_s > IDLE_S:
            self.stop()

    def _send(self, line: str) -> None:
        if self.pid is None:
            self.stop()
            self._child = spawn()
            threading.Thread(target=self._listen, args=(self._child,), name="planner", daemon=True).start()
        child = self._child
        if child is None or child.stdin is None:
            return
        self._asked_s = time.monotonic()
        # The pipe may be full while the child still loads its libraries; the loop does not wait for that.
        threading.Thread(target=_write, args=(child, line), name="planner-input", daemon=True).start()

    def _listen(self, child: subprocess.Popen[str]) -> None:
        if child.stdout is None:
            return
        try:
            for line in child.stdout:
                answer = json.loads(line)
                if child is self._child and answer.get("number") == self._number:
                    self._answer = answer
                    self._on_answer()
        except ValueError:
            # Closed by `stop` while reading.
            return
        if child is self._child:
            self._asked_s = None


def worth_it(state: LabState) -> bool:
    """Tell whether another order is possible at all: at least two jobs have something that waits."""
    jobs = 0
    for job in state.jobs.values():
        jobs += any(unit.queued and unit.devices for unit in job.units)
        if jobs > 1:
            return True
    return False


def spawn(niceness: int = NICENESS) -> subprocess.Popen[str]:
    """Start a planner child, which knows nothing yet."""
    root = Path(__file__).resolve().parents[2]
    # It needs no secret of ours.
    kept = ("PATH", "LANG", "LC_ALL", "HOME", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    return subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", "scheduler.process.child", str(niceness)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def _write(child: subprocess.Popen[str], line: str) -> None:
    try:
        if child.stdin is not None:
            child.stdin.write(line + "\n")
            child.stdin.flush()
    except (OSError, ValueError):
        log.debug("planner child has ended")
