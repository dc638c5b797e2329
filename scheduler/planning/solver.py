"""One call of CP-SAT: its effort, its answer, and how it is stopped."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ortools.sat.python import cp_model

STOP_POLL_S = 0.05
SOLVER_UNIT = 2.5
"""Units of counted work (see `limits`) that one unit of the solver's deterministic time stands for: both are
then roughly CPU seconds of one thread."""
STATUS = {
    cp_model.OPTIMAL: "optimal",
    cp_model.FEASIBLE: "feasible",
    cp_model.INFEASIBLE: "infeasible",
}
LIGHT: dict[str, Any] = {
    "linearization_level": 0,
    "cp_model_probing_level": 0,
    "symmetry_level": 0,
}
"""For small models, and for flows that are to be shortened within a second: presolve and relaxations cost more than
they bring."""


@dataclass(frozen=True, slots=True)
class Effort:
    """Bounds of one call.

    Attributes
    ----------
    wall_s
        Seconds of elapsed time.
    work
        Units of counted work; with it the answer is the same on every machine, and one thread is used.
    workers
        Threads of the solver.
    seed
        Of its random choices.
    stop
        Polled; true ends the call with what there is.
    light
        Spare presolve and relaxations.
    around
        Only look around the best solution (large-neighbourhood search): nothing is proven.
    """

    wall_s: float | None = None
    work: float | None = None
    workers: int = 1
    seed: int = 0
    stop: Callable[[], bool] | None = None
    light: bool = False
    around: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What the solver found.

    `status` is ``optimal``, ``feasible``, ``infeasible`` or ``unknown``; `value` that of the objective, None
    without a solution; `bound` is proven, None if nothing is; `work` in units of counted work.
    """

    status: str
    value: int | None
    bound: int | None
    work: float

    @property
    def solved(self) -> bool:
        """Whether there is a solution."""
        return self.value is not None


Values = cp_model.CpSolver | cp_model.CpSolverSolutionCallback
"""Something that knows the values of variables."""


class _Listener(cp_model.CpSolverSolutionCallback):
    """Tells of each solution as it is found."""

    def __init__(self, tell: Callable[[Values], None]) -> None:
        super().__init__()
        self._tell = tell

    def on_solution_callback(self) -> None:
        self._tell(self)


def solve(
    model: cp_model.CpModel, effort: Effort, tell: Callable[[Values], None] | None = None
) -> tuple[Answer, cp_model.CpSolver]:
    """Solve a model within the effort; the solver holds the values of its variables.

    `tell` is called with each solution as it is found.
    """
    solver = cp_model.CpSolver()
    parameters = solver.parameters
    parameters.random_seed = effort.seed
    parameters.num_workers = max(1, effort.workers)
    if effort.work is not None:
        parameters.num_workers = 1
        parameters.max_deterministic_time = max(effort.work / SOLVER_UNIT, 1e-3)
    if effort.wall_s is not None:
        parameters.max_time_in_seconds = max(effort.wall_s, 0.01)
    if effort.light:
        for name, value in LIGHT.items():
            setattr(parameters, name, value)
    if effort.around:
        parameters.use_lns_only = True
        if parameters.num_workers == 1:
            # One worker alone would only dive; two that take turns are as reproducible as one.
            parameters.num_workers, parameters.interleave_search = 2, True
    with _stopping(solver, effort.stop):
        status = STATUS.get(solver.solve(model, _Listener(tell) if tell else None), "unknown")
    response = solver.response_proto
    work = response.deterministic_time * SOLVER_UNIT
    bound = math.ceil(solver.best_objective_bound - 1e-6) if status != "infeasible" else None
    value = round(solver.objective_value) if status in ("optimal", "feasible") else None
    return Answer(status, value, bound, work), solver


@contextmanager
def _stopping(solver: cp_model.CpSolver, stop: Callable[[], bool] | None) -> Iterator[None]:
    """End a solve soon after `stop` says so."""
    if stop is None:
        yield
        return
    done = threading.Event()

    def watch() -> None:
        while not done.wait(STOP_POLL_S):
            if stop():
                # Again and again: a stop before the search has begun would be lost.
                solver.stop_search()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
