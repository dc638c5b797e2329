"""Durations learnt from history, and what they say about finishes: ranges, not single numbers.

How long a step really takes is modelled as its planned duration times a log-normal factor of its kind. A kind
is any string, e.g. ``module/task/step``; what depends on parameters (volumes, repeats) is in the planned
duration already. With few observations a kind leans on all others, and the range is that of Student's t, so
that it is honest from the first observation on.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from scheduler.planning.plan import Plan
from scheduler.planning.problem import Problem, all_lags

KEPT = 400
PRIOR_COUNT = 4.0
PRIOR_SIGMA = 0.4
Z80 = 1.2815515655446004
"""Quantile 0.9 of the normal distribution: 80 % lie between its negative and it."""


@dataclass(frozen=True, slots=True)
class Range:
    """A prediction: 80 % of all cases lie between `low` and `high`. In the unit of the planned value."""

    low: float
    median: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether what happened lies in the range."""
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Factor:
    """Mean and deviation of the logarithm of real over planned duration, with its degrees of freedom."""

    mean: float
    sigma: float
    freedom: float

    def quantile(self, z: float) -> float:
        """Return the factor at normal quantile `z`, widened for few observations."""
        return math.exp(self.mean + student(z, self.freedom) * self.sigma)


class DurationModel:
    """Learns factors by kind.

    Parameters
    ----------
    history
        (kind, planned, real) of past steps, oldest first; durations in any one unit.
    """

    def __init__(self, history: Iterable[tuple[str, float, float]] = ()) -> None:
        self._logs: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=KEPT))
        self._all: deque[float] = deque(maxlen=10 * KEPT)
        for kind, planned, real in history:
            self.observe(kind, planned, real)

    def observe(self, kind: str, planned: float, real: float) -> None:
        """Add one finished step. Those without a planned or real duration teach nothing."""
        if planned > 0 and real > 0:
            value = math.log(real / planned)
            self._logs[kind].append(value)
            self._all.append(value)

    def factor(self, kind: str) -> Factor:
        """Return what is known of a kind."""
        mean_all, sigma_all = _moments(self._all, 0.0, PRIOR_SIGMA)
        values = self._logs.get(kind)
        if not values:
            return Factor(mean_all, sigma_all, max(PRIOR_COUNT, float(len(self._all)) / 4))
        count = len(values)
        mean = (sum(values) + PRIOR_COUNT * mean_all / 4) / (count + PRIOR_COUNT / 4)
        squares = sum((value - mean) ** 2 for value in values)
        variance = (squares + PRIOR_COUNT * sigma_all**2) / (count + PRIOR_COUNT - 1)
        return Factor(mean, math.sqrt(variance * (1 + 1 / count)), count + PRIOR_COUNT - 1)

    def range(self, kind: str, planned: float) -> Range:
        """Return the 80 % range of a step's real duration, in the unit of `planned`."""
        factor = self.factor(kind)
        return Range(
            planned * factor.quantile(-Z80), planned * math.exp(factor.mean), planned * factor.quantile(Z80)
        )


def _moments(values: Iterable[float], mean: float, sigma: float) -> tuple[float, float]:
    rows = list(values)
    if not rows:
        return mean, sigma
    centre = sum(rows) / len(rows)
    squares = sum((row - centre) ** 2 for row in rows)
    return centre, math.sqrt((squares + PRIOR_COUNT * sigma**2) / (len(rows) + PRIOR_COUNT - 1))


def student(z: float, freedom: float) -> float:
    """Return the quantile of Student's t at the normal quantile `z` (Cornish and Fisher 1938)."""
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def predict_finishes(
    problem: Problem,
    plan: Plan,
    model: DurationModel,
    kinds: Mapping[str, str],
    *,
    samples: int = 400,
    seed: int = 0,
) -> dict[str, tuple[Range, Range]]:
    """Return 80 % ranges of start and finish of every job, in ticks.

    The plan is played `samples` times with durations drawn from the model. Steps keep the plan's order on
    every device and all minimum lags, and never start before they are planned to: late steps push others.

    Parameters
    ----------
    problem, plan
        The plan in force.
    model
        What was learnt.
    kinds
        Kind of each step that varies; steps without one (standby) last exactly as planned.
    samples, seed
        Of the simulation.
    """
    starts, ends = play(problem, plan, model, kinds, samples=samples, seed=seed)
    found = {}
    import numpy as np

    for job in problem.jobs:
        names = [step.id for step in job.steps() if step.id in starts]
        if not names:
            continue
        first = np.min([starts[name] for name in names], axis=0)
        last = np.max([ends[name] for name in names], axis=0)
        low, middle, high = np.quantile(first, (0.1, 0.5, 0.9))
        early, usual, late = np.quantile(last, (0.1, 0.5, 0.9))
        found[job.id] = (
            Range(float(low), float(middle), float(high)),
            Range(float(early), float(usual), float(late)),
        )
    return found


def play(
    problem: Problem,
    plan: Plan,
    model: DurationModel,
    kinds: Mapping[str, str],
    *,
    samples: int,
    seed: int,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Play a plan and return arrays of the starts and ends of every step, in ticks, one value per sample."""
    import numpy as np

    rng = np.random.default_rng(seed)
    fixed = {item.step: item for item in problem.fixed}
    before = predecessors(problem, plan)
    starts: dict[str, Any] = {}
    ends: dict[str, Any] = {}
    for name in sorted(plan.starts, key=lambda step: (plan.starts[step], plan.ends[step], step)):
        planned = plan.ends[name] - plan.starts[name]
        item = fixed.get(name)
        if item is not None and item.state == "completed":
            starts[name], ends[name] = np.full(samples, item.start), np.full(samples, item.end)
            continue
        begin = np.full(samples, float(plan.starts[name]))
        if item is None:
            for other, at_end, at_end_of_own, away in before.get(name, ()):
                if other in starts:
                    bound = (ends if at_end else starts)[other] + away
                    begin = np.maximum(begin, bound - (planned if at_end_of_own else 0))
        length: Any = float(planned)
        if name in kinds and planned > 0:
            factor = model.factor(kinds[name])
            length = planned * np.exp(factor.mean + factor.sigma * rng.standard_t(factor.freedom, samples))
        starts[name] = begin
        ends[name] = np.maximum(begin + length, float(problem.now)) if item is not None else begin + length
    return starts, ends


def predecessors(problem: Problem, plan: Plan) -> dict[str, list[tuple[str, bool, bool, int]]]:
    """Return what each step waits for: (step, for its end, bounds our end, ticks between)."""
    before: dict[str, list[tuple[str, bool, bool, int]]] = defaultdict(list)
    for lag in all_lags(problem):
        if lag.min is not None:
            row = (lag.first, lag.first_point == "end", lag.second_point == "end", lag.min)
            before[lag.second].append(row)
    last: dict[str, str] = {}
    steps = sorted(
        (step for step in problem.steps() if step.id in plan.starts),
        key=lambda step: (plan.starts[step.id], plan.ends[step.id], step.id),
    )
    for step in steps:
        for use in step.modes[plan.modes.get(step.id, 0)].uses:
            other = last.get(use.device)
            if other is not None and plan.ends[other] <= plan.starts[step.id]:
                before[step.id].append((other, True, False, 0))
            if not use.still:
                last[use.device] = step.id
    return before
