"""What makes one plan better than another: an ordered tuple, never one huge weighted sum.

``lab``
    (hard violations, cost of broken windows, weighted flow with stretch guard and tardiness, makespan,
    churn).
``flow``
    (hard violations, cost of broken windows, weighted flow, makespan).
``makespan``
    (hard violations, cost of broken windows, makespan).

All components are integers; times are ticks. Smaller is better, in that order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from scheduler.planning.network import alone
from scheduler.planning.plan import Plan
from scheduler.planning.problem import Lag, Problem, all_lags

ObjectiveName = Literal["lab", "flow", "makespan"]
IMMINENT_SECONDS = 3600.0
STRETCH_LIMIT = 3
TARDINESS_FACTOR = 2


@dataclass(slots=True)
class Objective:
    """Evaluates plans of one problem; build once, use often.

    Parameters
    ----------
    problem
        The problem.
    name
        Which tuple.
    incumbent
        The plan in force, for churn: the sum over steps that were to start within the next hour of how many
        ticks their start moves, plus one tick for each change of mode.

    Notes
    -----
    The stretch guard counts the part of a job's flow time beyond `STRETCH_LIMIT` times its time alone twice,
    so that a good mean is not bought with one user's day.
    """

    problem: Problem
    name: ObjectiveName = "lab"
    incumbent: Plan | None = None
    _soft: list[Lag] = field(init=False, repr=False)
    _alone: dict[str, int] = field(init=False, repr=False)
    _steps: dict[str, list[str]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._soft = [lag for lag in all_lags(self.problem) if lag.cost is not None and lag.max is not None]
        self._alone = alone(self.problem) if self.name == "lab" else {}
        self._steps = {job.id: [step.id for step in job.steps()] for job in self.problem.jobs}

    def __call__(
        self, starts: Mapping[str, int], ends: Mapping[str, int], modes: Mapping[str, int], hard: int = 0
    ) -> tuple[int, ...]:
        """Return the tuple of a plan; `hard` is its number of hard violations (see the checker).

        Steps without a start do not count in times; report them in `hard`.
        """
        windows = self.windows(starts, ends)
        makespan = max(ends.values(), default=0)
        if self.name == "makespan":
            return (hard, windows, makespan)
        flow = self.flow(ends)
        if self.name == "flow":
            return (hard, windows, flow, makespan)
        return (hard, windows, flow, makespan, self.churn(starts, modes))

    @property
    def soft_index(self) -> int:
        """Where the leading time stands in the tuple: the component that bounds and gaps refer to."""
        return 2

    def windows(self, starts: Mapping[str, int], ends: Mapping[str, int]) -> int:
        """Return the summed cost of soft maxima that the plan breaks."""
        total = 0
        for lag in self._soft:
            if lag.first in starts and lag.second in starts and lag.max is not None and lag.cost is not None:
                first = (ends if lag.first_point == "end" else starts)[lag.first]
                second = (ends if lag.second_point == "end" else starts)[lag.second]
                total += max(0, second - first - lag.max) * lag.cost
        return total

    def flow(self, ends: Mapping[str, int]) -> int:
        """Return the weighted flow time in ticks; for ``lab`` with stretch guard and tardiness."""
        total = 0
        for job in self.problem.jobs:
            finish = max((ends[step] for step in self._steps[job.id] if step in ends), default=job.release)
            flow = finish - job.release
            cost = flow
            if self.name == "lab":
                cost += max(0, flow - STRETCH_LIMIT * self._alone[job.id])
                if job.due is not None:
                    cost += TARDINESS_FACTOR * max(0, finish - job.due)
            total += job.weight * cost
        return total

    def churn(self, starts: Mapping[str, int], modes: Mapping[str, int]) -> int:
        """Return how much the plan moves what was about to start."""
        if self.incumbent is None:
            return 0
        horizon = self.problem.now + int(IMMINENT_SECONDS / self.problem.tick)
        total = 0
        for step, before in self.incumbent.starts.items():
            if before <= horizon and step in starts:
                total += abs(starts[step] - before) + (modes.get(step, 0) != self.incumbent.modes.get(step, 0))
        return total


def mean_weighted_flow(problem: Problem, plan: Plan) -> float:
    """Return sum(w * flow) / sum(w) in ticks, without guard and tardiness, as benchmarks report it."""
    total = weights = 0
    for job in problem.jobs:
        finish = max((plan.ends[step.id] for step in job.steps() if step.id in plan.ends), default=job.release)
        total += job.weight * (finish - job.release)
        weights += job.weight
    return total / weights if weights else 0.0


def job_finishes(problem: Problem, plan: Plan) -> dict[str, int]:
    """Return the planned finish of each job in ticks (its release, if nothing of it is planned)."""
    return {
        job.id: max((plan.ends[step.id] for step in job.steps() if step.id in plan.ends), default=job.release)
        for job in problem.jobs
    }
