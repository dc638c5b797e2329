"""Durations learnt from history: ranges, not single numbers.

How long a step really takes is modelled as its planned duration times a log-normal factor of its kind. Kinds form a
tree, ``module/task/step`` and below it ``module/task/step|parameters``: what has been seen seldom leans on its parent,
and that on everything. A part of what is not known is common to all steps of a kind (the error of its mean), the rest
is each step's own; sums over a job need both. Ranges are those of Student's t, honest from the first observation on.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

KEPT = 400
MOST_KINDS = 5000
PRIOR_COUNT = 4.0
PRIOR_SIGMA = 0.4
TRUST = 1.0
TRUST_PARAMETERS = 4.0
"""How many observations a parent's mean counts for: everything's for a kind, a kind's for one set of parameters."""
WORTH = 3
"""Observations of a kind before it changes how long its steps are planned to last."""
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
    """What is known of the logarithm of real over planned duration.

    Attributes
    ----------
    mean
        Its mean.
    sigma
        Deviation of a single step.
    error
        Deviation of the mean itself: common to all steps of the kind.
    freedom
        Degrees of freedom.
    count
        Observations of this very kind.
    """

    mean: float
    sigma: float
    error: float
    freedom: float
    count: int

    def quantile(self, z: float) -> float:
        """Return the factor at normal quantile `z`, widened for few observations."""
        return math.exp(self.mean + student(z, self.freedom) * math.hypot(self.sigma, self.error))


class _Logs:
    """The last logarithms of a kind, with their sums."""

    __slots__ = ("kept", "squares", "total", "values")

    def __init__(self, kept: int) -> None:
        self.kept = kept
        self.values: deque[float] = deque()
        self.total = self.squares = 0.0

    def add(self, value: float) -> None:
        self.values.append(value)
        self.total += value
        self.squares += value * value
        if len(self.values) > self.kept:
            old = self.values.popleft()
            self.total -= old
            self.squares -= old * old

    def around(self, mean: float) -> float:
        """Return the sum of squared distances from a mean."""
        return max(0.0, self.squares - 2 * mean * self.total + len(self.values) * mean * mean)


class DurationModel:
    """Learns factors by kind.

    Parameters
    ----------
    history
        (kind, planned, real) of past steps, oldest first; durations in any one unit.
    """

    def __init__(self, history: Iterable[tuple[str, float, float]] = ()) -> None:
        self._logs: dict[str, _Logs] = {"": _Logs(10 * KEPT)}
        self._factors: dict[str, Factor] = {}
        self.version = 0
        """Raised by each observation."""
        for kind, planned, real in history:
            self.observe(kind, planned, real)

    def observe(self, kind: str, planned: float, real: float) -> None:
        """Add one finished step. Those without a planned or real duration teach nothing."""
        if planned <= 0 or real <= 0:
            return
        value = math.log(real / planned)
        while True:
            if kind not in self._logs:
                self._make_room()
                self._logs[kind] = _Logs(KEPT)
            self._logs[kind].add(value)
            if not kind:
                break
            kind = parent_of(kind)
        self._factors.clear()
        self.version += 1

    def _make_room(self) -> None:
        """Forget the set of parameters that came first, if there are very many."""
        if len(self._logs) >= MOST_KINDS:
            oldest = next((kind for kind in self._logs if "|" in kind), None)
            if oldest is not None:
                del self._logs[oldest]

    def seen(self, kind: str) -> str:
        """Return the kind, or the nearest one above it of which anything is known."""
        while kind not in self._logs and (above := parent_of(kind)):
            kind = above
        return kind

    def factor(self, kind: str) -> Factor:
        """Return what is known of a kind."""
        found = self._factors.get(kind)
        if found is None:
            found = self._factors[kind] = self._factor(kind)
        return found

    def _factor(self, kind: str) -> Factor:
        logs = self._logs.get(kind)
        count = len(logs.values) if logs is not None else 0
        if not kind:
            return self._everything()
        above = self.factor(parent_of(kind))
        if logs is None or not count:
            # Nobody knows how much of the spread above is this kind's own: half of it.
            half = math.hypot(above.sigma, above.error) / math.sqrt(2)
            return Factor(above.mean, half, half, max(PRIOR_COUNT, above.freedom / 4), 0)
        trust = TRUST if not parent_of(kind) else TRUST_PARAMETERS
        mean = (logs.total + trust * above.mean) / (count + trust)
        freedom = count + PRIOR_COUNT - 1
        variance = (logs.around(mean) + PRIOR_COUNT * (above.sigma**2 + above.error**2)) / freedom
        error = math.sqrt(variance / count) if trust == TRUST else math.sqrt(variance / (count + trust))
        return Factor(mean, math.sqrt(variance), error, freedom, count)

    def _everything(self) -> Factor:
        logs = self._logs[""]
        count = len(logs.values)
        if not count:
            return Factor(0.0, PRIOR_SIGMA, 0.0, PRIOR_COUNT, 0)
        mean = logs.total / count
        variance = (logs.around(mean) + PRIOR_COUNT * PRIOR_SIGMA**2) / (count + PRIOR_COUNT - 1)
        return Factor(mean, math.sqrt(variance), 0.0, max(PRIOR_COUNT, float(count)), count)

    def range(self, kind: str, planned: float) -> Range:
        """Return the 80 % range of a step's real duration, in the unit of `planned`."""
        factor = self.factor(kind)
        return Range(planned * factor.quantile(-Z80), planned * math.exp(factor.mean), planned * factor.quantile(Z80))

    def expected(self, kind: str, planned: float) -> float:
        """Return how long to plan a step for: as it was said until its kind is known, then its learnt median."""
        while kind:
            factor = self.factor(kind)
            if factor.count >= WORTH:
                return planned * math.exp(factor.mean)
            kind = parent_of(kind)
        return planned


def parent_of(kind: str) -> str:
    """Return the kind above a kind; that of everything is empty."""
    return kind.rpartition("|")[0]


def student(z: float, freedom: float) -> float:
    """Return the quantile of Student's t at the normal quantile `z` (Cornish and Fisher 1938)."""
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3
