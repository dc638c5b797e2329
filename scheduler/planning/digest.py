"""What every CP-SAT model of one problem looks up: made once, used by hundreds of neighbourhoods.

Two things make the models small. Steps that follow each other at a fixed distance share one start. A device
that is only ever used together with another one is never the reason why something does not fit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise

from scheduler.planning.network import alone
from scheduler.planning.problem import Hold, Index, Mode, Problem, Task, Use, all_lags


class Digest:
    """What every model of one problem needs to look up: made once, used by hundreds of neighbourhoods."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.index: Index = problem.index()
        self.lags = list(all_lags(problem))
        self.lags_of: dict[str, list[int]] = defaultdict(list)
        for number, lag in enumerate(self.lags):
            self.lags_of[lag.first].append(number)
            if lag.second != lag.first:
                self.lags_of[lag.second].append(number)
        self.holds: dict[str, list[Hold]] = defaultdict(list)
        covered: set[tuple[str, str]] = set()
        for job in problem.jobs:
            for hold in job.holds:
                self.holds[hold.resource].append(hold)
                if hold.resource in self.index.device:
                    order = [step.id for step in self.index.task_of[hold.first].steps]
                    inside = order[order.index(hold.first) : order.index(hold.last) + 1]
                    covered.update((hold.resource, name) for name in inside)
        self.uses: dict[str, list[tuple[str, int, Use]]] = defaultdict(list)
        self.demands: dict[str, list[tuple[str, int, int]]] = defaultdict(list)
        for name, step in self.index.step.items():
            for number, mode in enumerate(step.modes):
                self._add(name, number, mode, covered)
        self.follows = {step: before for job in problem.jobs for task in job.tasks for step, before in _following(task)}
        self.idle = self._idle()

    def _add(self, name: str, number: int, mode: Mode, covered: set[tuple[str, str]]) -> None:
        for use in mode.uses:
            if (use.device, name) not in covered:
                self.uses[use.device].append((name, number, use))
        for demand in mode.demands:
            if demand.quantity:
                self.demands[demand.resource].append((name, number, demand.quantity))

    def _idle(self) -> set[str]:
        """Return devices that are only used together with another one, which then says all there is to say."""
        plain = {}
        for device in self.problem.devices:
            uses = self.uses.get(device.id, [])
            if device.batch == 1 and not any(use.still for _, _, use in uses) and device.id not in self.holds:
                plain[device.id] = {(name, number) for name, number, _ in uses}
        idle: set[str] = set()
        for device in self.problem.devices:
            own = plain.get(device.id)
            if own is None or device.blocked or device.setups:
                continue
            if any(own <= plain[other] for other in plain if other != device.id and other not in idle):
                idle.add(device.id)
        return idle

    @cached_property
    def alone(self) -> dict[str, int]:
        """The time alone of each job, by id."""
        return alone(self.problem)


def _following(task: Task) -> Iterator[tuple[str, tuple[str, int]]]:
    """Yield (step, (step before, distance of their starts)) of steps that cannot move on their own."""
    for before, step in pairwise(task.steps):
        exact = before.gap_cost is None and before.max_gap == before.min_gap
        if exact and len(before.modes) == len(step.modes) == 1:
            yield step.id, (before.id, before.modes[0].duration + before.min_gap)


def safe_horizon(problem: Problem) -> int:
    """Return a tick by which every plan can be over that has no needless pause: all work one after another.

    From the last tick on that anything is stated for (releases, calendars, deliveries), a plan can be drawn
    together until some step or some minimum lag runs at any time.
    """
    times = [problem.now, *(fixed.end for fixed in problem.fixed)]
    times += [blocked.end for device in problem.devices for blocked in device.blocked]
    times += [outage.end for resource in problem.resources for outage in resource.outages]
    times += [refill.time for stock in problem.stocks for refill in stock.refills]
    times += [max(job.release, step.earliest) for job in problem.jobs for step in job.steps()]
    longest: dict[str, int] = {}
    setup = max((s.duration for device in problem.devices for s in device.setups), default=0)
    for step in problem.steps():
        longest[step.id] = max(mode.duration for mode in step.modes)
    total = sum(longest.values()) + setup * len(longest)
    for lag in all_lags(problem):
        if lag.min is not None and lag.min > 0:
            total += lag.min
        elif lag.max is not None and lag.max < 0:
            total -= lag.max
    return max(times, default=0) + total
