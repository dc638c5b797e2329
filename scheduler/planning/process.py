"""A planner in a process of its own: it can be stopped, outlived and killed, whatever the solver does.

The child is started as ``python -m scheduler.planning.process``. It reads one line of JSON (the request), and
writes one line for each better plan; nothing is pickled. When its standard input closes, because the parent
says so or is gone, it ends at once.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from types import TracebackType
from typing import IO, Any

from scheduler.planning.checker import hard_violations
from scheduler.planning.codec import dump_plan, dump_problem, load_plan, load_problem
from scheduler.planning.limits import Limits
from scheduler.planning.objective import Objective, ObjectiveName
from scheduler.planning.plan import Plan
from scheduler.planning.policies import make_plan
from scheduler.planning.problem import Problem

NICE = 10
END_S = 2.0


@dataclass(frozen=True, slots=True)
class Progress:
    """A better plan, and the fraction of the limits that was used when it was found."""

    spent: float
    plan: Plan


class SolverError(RuntimeError):
    """The child ended with an error; the message is its last line."""


class SolverProcess:
    """Improves a plan in a child process.

    Use it as a context manager; leaving it kills the child. `best` is always the incumbent or a plan that was
    verified here, in the parent, and is better: the child is not trusted to be right, or alive.

    Parameters
    ----------
    problem, policy, incumbent, limits, seed, objective
        As for `scheduler.planning.policies.make_plan`; `Limits.stop` must be None (use `stop`).
    nice
        By how much the child's priority is lowered.
    """

    def __init__(
        self,
        problem: Problem,
        policy: str = "optimal",
        *,
        incumbent: Plan | None = None,
        limits: Limits | None = None,
        seed: int = 0,
        objective: ObjectiveName = "lab",
        nice: int = NICE,
    ) -> None:
        limits = limits or Limits()
        if limits.stop is not None:
            raise ValueError("a stop function cannot be sent to another process; call SolverProcess.stop()")
        self.problem = problem
        self.best = incumbent
        self._objective = Objective(problem, objective, incumbent)
        self._value = None if incumbent is None else self._judge(incumbent)
        request = {
            "problem": dump_problem(problem),
            "policy": policy,
            "incumbent": None if incumbent is None else dump_plan(incumbent),
            "limits": {key: value for key, value in asdict(limits).items() if key != "stop"},
            "seed": seed,
            "objective": objective,
            "nice": nice,
        }
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(path for path in sys.path if path))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "scheduler.planning.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
            start_new_session=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._errors: list[str] = []
        self._threads = [
            threading.Thread(target=self._feed, args=(json.dumps(request),), daemon=True),
            threading.Thread(target=self._read, daemon=True),
            threading.Thread(target=self._listen, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> SolverProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the child lives."""
        return self._process.poll() is None

    def poll(self, timeout_s: float | None = 0.0) -> Progress | None:
        """Return the next better plan, verified; None if there is none within `timeout_s` seconds.

        Parameters
        ----------
        timeout_s
            How long to wait; None until the next plan or the child's end.

        Raises
        ------
        SolverError
            If the child failed by itself.
        """
        while True:
            try:
                line = self._lines.get(timeout=timeout_s) if timeout_s != 0 else self._lines.get_nowait()
            except queue.Empty:
                return None
            if line is None:
                self._lines.put(None)
                self._raise_failure()
                return None
            progress = self._accept(line)
            if progress is not None:
                return progress

    def plans(self) -> Iterator[Progress]:
        """Yield better plans as they come, until the child has ended."""
        while (progress := self.poll(None)) is not None:
            yield progress

    def stop(self) -> None:
        """Ask the child to end with what it has; it may still send its last plan."""
        self._send("stop\n")

    def kill(self) -> None:
        """End the child now, and wait until it is gone."""
        if self.running:
            self._process.kill()
        self._process.wait()
        for thread in self._threads:
            thread.join(END_S)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    continue

    # --- inside

    def _judge(self, plan: Plan) -> tuple[int, ...]:
        names = [step.id for step in self.problem.steps()]
        missing = sum(name not in plan.starts for name in names)
        hard = missing or len(hard_violations(self.problem, plan))
        return self._objective(plan.starts, plan.ends, plan.modes, hard)

    def _accept(self, line: str) -> Progress | None:
        try:
            data = json.loads(line)
            plan, spent = load_plan(data["plan"]), float(data["spent"])
        except (ValueError, KeyError, TypeError):
            return None  # The end of what a killed child was about to say.
        value = self._judge(plan)
        if self._value is not None and value >= self._value:
            if value == self._value and self.best is not None and plan.starts == self.best.starts:
                # The same plan with a better bound or a proof.
                self.best = replace(self.best, bound=plan.bound, gap=plan.gap, status=plan.status)
            return None
        if value[0] and self.best is not None:
            return None
        self.best, self._value = replace(plan, objective=value), value
        return Progress(spent, self.best)

    def _raise_failure(self) -> None:
        code = self._process.wait()
        if code > 0:
            raise SolverError(self._errors[-1] if self._errors else f"the planner ended with code {code}")

    def _feed(self, request: str) -> None:
        self._send(request + "\n")

    def _send(self, text: str) -> None:
        pipe = self._process.stdin
        try:
            if pipe is not None:
                pipe.write(text)
                pipe.flush()
        except (OSError, ValueError):
            return  # It has ended: what it had to say is in the queue.

    def _read(self) -> None:
        pipe = self._process.stdout
        if pipe is not None:
            for line in pipe:
                self._lines.put(line)
        self._lines.put(None)

    def _listen(self) -> None:
        pipe = self._process.stderr
        if pipe is not None:
            for line in pipe:
                if line.strip():
                    self._errors[:] = [*self._errors[-9:], line.strip()]


def serve(source: IO[str], target: IO[str]) -> None:
    """Answer one request: the child's side."""
    data: dict[str, Any] = json.loads(source.readline())
    os.nice(data["nice"])
    asked = threading.Event()

    def watch() -> None:
        for line in source:
            if line.strip() == "stop":
                asked.set()
        os._exit(0)  # The parent closed its end or is gone: nobody wants the answer.

    threading.Thread(target=watch, daemon=True).start()

    def tell(spent: float, plan: Plan) -> None:
        target.write(json.dumps({"spent": spent, "plan": dump_plan(plan)}) + "\n")
        target.flush()

    plan = make_plan(
        load_problem(data["problem"]),
        data["policy"],
        incumbent=None if data["incumbent"] is None else load_plan(data["incumbent"]),
        limits=Limits(**data["limits"], stop=asked.is_set),
        seed=data["seed"],
        objective=data["objective"],
        progress=tell,
    )
    tell(1.0, plan)


if __name__ == "__main__":
    serve(sys.stdin, sys.stdout)
