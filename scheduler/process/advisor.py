"""The advisor: a second planner child, which answers people's questions about the plan while the loop goes on.

It gets a copy of the plan in force when a question needs one, and keeps it for the next. It holds nothing that is not
held here; when it dies or takes too long, only answers are lost.
"""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from scheduler.planning.codec import to_data
from scheduler.planning.problem import Problem
from scheduler.process.improve import spawn
from scheduler.process.plan import Plan

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
        self._child: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._asked: dict[str, float] = {}
        self._seen = -1
        self._sent_s = 0.0
        self.warm = threading.Event()
        """Set when the child has answered for the first time: it has loaded its solvers."""

    def ask(self, question: Mapping[str, Any], plan: Plan, now_s: float) -> None:
        """Pass a question on, with the plan in force if the child does not know it yet."""
        clock_s = time.monotonic()
        row = dict(question)
        fresh = self._alive and self._seen == plan.changes_seen and clock_s - self._sent_s < SNAPSHOT_S
        if not fresh:
            problem, present = plan.present(now_s)
            row["problem"], row["plan"] = to_data(problem), to_data(present)
            self._seen, self._sent_s = plan.changes_seen, clock_s
        self.pass_on(row)

    def pass_on(self, question: Mapping[str, Any]) -> None:
        """Pass on a question that needs no plan."""
        self._start()
        self._asked[str(question["id"])] = time.monotonic()
        self._lines.put(json.dumps(question))

    def warm_up(self) -> None:
        """Have the child load its solvers, so that nobody's question waits for that."""
        self.pass_on({"id": _WARM_UP, "ask": "feasible", "job": to_data(Problem((), ()))})

    def forget(self) -> None:
        """Have the plan sent again with the next question: it was read anew."""
        self._seen = -1

    def answers(self) -> list[dict[str, Any]]:
        """Return what the child has said since the last call."""
        found = []
        while not self._answers.empty():
            answer = self._answers.get_nowait()
            self._asked.pop(str(answer.get("id")), None)
            if answer.get("id") != _WARM_UP:
                found.append(answer)
        return found

    def look(self) -> None:
        """End a child that takes too long."""
        clock_s = time.monotonic()
        if self._asked and clock_s - min(self._asked.values()) > KILL_S:
            log.warning("the advisor takes too long and is ended")
            self.stop()

    def stop(self) -> None:
        """End the child at once."""
        child, self._child = self._child, None
        self._asked.clear()
        if child is not None:
            self._lines.put("")
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    pipe.close()

    @property
    def _alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def _start(self) -> None:
        if self._alive:
            return
        self.stop()
        self._lines = queue.Queue()
        self._child = spawn(NICENESS)
        for target in (self._talk, self._listen):
            threading.Thread(target=target, args=(self._child, self._lines), name="advisor", daemon=True).start()

    def _talk(self, child: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
        # The pipe may be full while the child still thinks; the loop does not wait for that.
        while line := lines.get():
            try:
                if child.stdin is not None:
                    child.stdin.write(line + "\n")
                    child.stdin.flush()
            except (OSError, ValueError):
                return

    def _listen(self, child: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
        if child.stdout is None:
            return
        try:
            for line in child.stdout:
                if child is self._child:
                    self._answers.put(json.loads(line))
                    self.warm.set()
                    self._on_answer()
        except ValueError:
            # Closed by `stop` while reading.
            return
