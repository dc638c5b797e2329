"""Which jobs to plan anew together while all others stand still: the neighbourhoods of the large search.

A neighbourhood is a set of jobs. Good ones hold jobs that compete for the same devices at about the same time,
and jobs that wait long; pure chance keeps the search from going in circles.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from scheduler.planning.network import alone
from scheduler.planning.plan import Plan
from scheduler.planning.problem import Problem

SMALLEST, LARGEST = 2, 12


@dataclass(slots=True)
class Neighbourhoods:
    """Draws sets of jobs, and learns how many at once can be solved in the time there is."""

    problem: Problem
    movable: Sequence[str]
    """Ids of the jobs that have a step to decide."""
    rng: random.Random
    size: float = 5.0
    _alone: dict[str, int] = field(init=False, repr=False)
    _devices: dict[str, frozenset[str]] = field(init=False, repr=False)
    _steps: dict[str, list[str]] = field(init=False, repr=False)
    _release: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._alone = alone(self.problem)
        self._devices, self._steps, self._release = {}, {}, {}
        for job in self.problem.jobs:
            steps = list(job.steps())
            self._steps[job.id] = [step.id for step in steps]
            self._release[job.id] = job.release
            self._devices[job.id] = frozenset(
                use.device for step in steps for mode in step.modes for use in mode.uses
            )

    def draw(self, plan: Plan) -> frozenset[str]:
        """Return the ids of the jobs to free."""
        count = min(round(self.size), len(self.movable))
        if count >= len(self.movable):
            return frozenset(self.movable)
        kind: Callable[[Plan, int], list[str]] = self.rng.choice(
            (self._rivals, self._rivals, self._era, self._chance)
        )
        return frozenset(kind(plan, count))

    def learn(self, solved: bool) -> None:
        """Grow after a neighbourhood that was solved to the end, shrink after one that was not."""
        self.size = min(self.size * 1.03, LARGEST) if solved else max(self.size * 0.9, SMALLEST)

    def _span(self, plan: Plan, job: str) -> tuple[int, int]:
        return (
            min(plan.starts[step] for step in self._steps[job]),
            max(plan.ends[step] for step in self._steps[job]),
        )

    def _rivals(self, plan: Plan, count: int) -> list[str]:
        """A job that waits long, and those that use its devices while it is there or waits."""
        stretch = [
            1 + (self._span(plan, job)[1] - self._release[job]) / max(self._alone[job], 1)
            for job in self.movable
        ]
        chosen = self.rng.choices(self.movable, weights=[value**2 for value in stretch])[0]
        low, high = self._release[chosen], self._span(plan, chosen)[1]
        scores = {}
        for job in self.movable:
            if job != chosen:
                start, end = self._span(plan, job)
                overlap = max(0, min(high, end) - max(low, start))
                common = len(self._devices[job] & self._devices[chosen])
                scores[job] = overlap * (1 + common) * self.rng.random()
        return [chosen, *sorted(scores, key=lambda job: -scores[job])[: count - 1]]

    def _era(self, plan: Plan, count: int) -> list[str]:
        """Jobs that start one after another."""
        order = sorted(self.movable, key=lambda job: self._span(plan, job)[0])
        first = self.rng.randrange(len(order) - count + 1)
        return order[first : first + count]

    def _chance(self, plan: Plan, count: int) -> list[str]:
        return self.rng.sample(list(self.movable), count)


def near_jobs(
    problem: Problem, plan: Plan, movable: Sequence[str], count: int
) -> tuple[list[str], list[str]]:
    """Return the jobs that start first, about `count` of them, and the others, both in order of their start.

    A job that is tied to others by rules of the problem stays with them.
    """
    first = {
        job.id: min((plan.starts[step.id] for step in job.steps() if step.id in plan.starts), default=0)
        for job in problem.jobs
        if job.id in set(movable)
    }
    order = sorted(first, key=lambda job: (first[job], job))
    if problem.lags:
        return order, []
    return order[:count], order[count:]
