"""Shops and projects by number: steps, devices, resources and lags alone, as the searches for a short makespan
need them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from scheduler.planning.plan import Plan
from scheduler.planning.problem import Problem, all_lags

Arc = tuple[int, int, int]
"""``start(second) >= start(first) + length``."""
FAR = 1 << 60


@dataclass(frozen=True, slots=True)
class Option:
    """A mode: what it takes, by number of device and of resource."""

    duration: int
    devices: tuple[int, ...]
    demands: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """A lag between numbered steps."""

    first: int
    second: int
    first_end: bool
    second_end: bool
    min: int | None
    max: int | None

    def arcs(self, durations: Sequence[int]) -> Iterable[Arc]:
        """Yield the rule as arcs between starts."""
        shift = (durations[self.first] if self.first_end else 0) - (durations[self.second] if self.second_end else 0)
        if self.min is not None:
            yield self.first, self.second, self.min + shift
        if self.max is not None:
            yield self.second, self.first, -self.max - shift


@dataclass(slots=True)
class Arrangement:
    """Starts and modes by number of step."""

    starts: list[int]
    modes: list[int]


@dataclass(slots=True)
class Shop:
    """A problem of steps, devices, resources and lags alone, all by number."""

    names: list[str]
    options: list[list[Option]]
    release: list[int]
    rules: list[Rule]
    capacities: list[int]
    devices: int
    holds: list[tuple[int, int, int, int]] = field(default_factory=list)
    """(first step, last step, resource, units)"""
    rules_of: list[list[Rule]] = field(init=False)

    def __post_init__(self) -> None:
        self.rules_of = [[] for _ in self.names]
        for rule in self.rules:
            self.rules_of[rule.first].append(rule)
            if rule.second != rule.first:
                self.rules_of[rule.second].append(rule)

    @classmethod
    def of(cls, problem: Problem) -> Shop | None:
        """Return the problem as a shop, or None if it has rules that a shop does not know."""
        if problem.fixed or problem.stocks or any(resource.outages for resource in problem.resources):
            return None
        if any(device.blocked or device.setups or device.batch > 1 for device in problem.devices):
            return None
        if any(job.settings or job.deadline is not None for job in problem.jobs):
            return None
        if any(use.still for step in problem.steps() for mode in step.modes for use in mode.uses):
            return None
        lags = list(all_lags(problem))
        if any(lag.cost is not None for lag in lags):
            return None
        device = {item.id: number for number, item in enumerate(problem.devices)}
        resource = {item.id: number for number, item in enumerate(problem.resources)}
        names, options, release = [], [], []
        for job in problem.jobs:
            for step in job.steps():
                names.append(step.id)
                release.append(max(problem.now, job.release, step.earliest))
                options.append(
                    [
                        Option(
                            mode.duration,
                            tuple(device[use.device] for use in mode.uses),
                            tuple((resource[d.resource], d.quantity) for d in mode.demands if d.quantity),
                        )
                        for mode in step.modes
                    ]
                )
        number = {name: n for n, name in enumerate(names)}
        rules = [
            Rule(
                number[lag.first],
                number[lag.second],
                lag.first_point == "end",
                lag.second_point == "end",
                lag.min,
                lag.max,
            )
            for lag in lags
        ]
        capacities = [item.capacity for item in problem.resources]
        holds = []
        for hold in (hold for job in problem.jobs for hold in job.holds if hold.quantity):
            if hold.resource not in resource:
                return None
            holds.append((number[hold.first], number[hold.last], resource[hold.resource], hold.quantity))
        return cls(names, options, release, rules, capacities, len(problem.devices), holds)

    def read(self, plan: Plan) -> Arrangement:
        """Return a plan by number."""
        return Arrangement([plan.starts[name] for name in self.names], [plan.modes.get(name, 0) for name in self.names])

    def write(self, arrangement: Arrangement) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
        """Return starts, ends and modes by id."""
        durations = self.durations(arrangement)
        starts = dict(zip(self.names, arrangement.starts, strict=True))
        ends = {name: starts[name] + length for name, length in zip(self.names, durations, strict=True)}
        return starts, ends, dict(zip(self.names, arrangement.modes, strict=True))

    def durations(self, arrangement: Arrangement) -> list[int]:
        """Return the duration of each step in its mode."""
        return [options[mode].duration for options, mode in zip(self.options, arrangement.modes, strict=True)]

    def makespan(self, arrangement: Arrangement) -> int:
        """Return the last end."""
        return max(map(sum, zip(arrangement.starts, self.durations(arrangement), strict=True)), default=0)

    def arcs(self, arrangement: Arrangement) -> list[Arc]:
        """Return lags and the order on devices and resources as arcs: all that the arrangement decides."""
        durations = self.durations(arrangement)
        arcs = [arc for rule in self.rules for arc in rule.arcs(durations)]
        starts, last = arrangement.starts, [-1] * self.devices
        takers = [(first, end, [(resource, quantity)]) for first, end, resource, quantity in self.holds]
        for i in sorted(range(len(self.names)), key=lambda i: (starts[i], durations[i])):
            if durations[i] == 0:
                continue
            option = self.options[i][arrangement.modes[i]]
            for device in option.devices:
                if last[device] >= 0:
                    arcs.append((last[device], i, durations[last[device]]))
                last[device] = i
            if option.demands:
                takers.append((i, i, list(option.demands)))
        pools = [[(-1, capacity)] for capacity in self.capacities]
        for first, end, demands in sorted(takers, key=lambda row: (starts[row[0]], row[1])):
            for resource, quantity in demands:
                for giver in _take(pools[resource], starts[first], end, quantity, starts, durations):
                    arcs.append((giver, first, durations[giver]))
        return arcs

    def earliest(self, arrangement: Arrangement) -> Arrangement:
        """Return the arrangement with every step as early as its order allows."""
        out: list[list[tuple[int, int]]] = [[] for _ in self.names]
        for one, two, length in self.arcs(arrangement):
            out[one].append((two, length))
        starts = self.release[:]
        order = sorted(range(len(starts)), key=arrangement.starts.__getitem__)
        settle(order, starts, out, 1)
        return Arrangement(starts, arrangement.modes[:])


def _take(
    pool: list[tuple[int, int]],
    start: int,
    taker: int,
    quantity: int,
    starts: list[int],
    durations: list[int],
) -> list[int]:
    """Hand units on from steps that have ended, the latest first; return who gives.

    `taker` is the step whose end frees them again.
    """
    free = [(starts[giver] + durations[giver] if giver >= 0 else -FAR, n) for n, (giver, _) in enumerate(pool)]
    givers = []
    left = quantity
    for end, n in sorted(free, reverse=True):
        giver, units = pool[n]
        if left == 0 or end > start:
            continue
        taken = min(left, units)
        left -= taken
        pool[n] = (giver, units - taken)
        if giver >= 0:
            givers.append(giver)
    pool[:] = [entry for entry in pool if entry[1]]
    pool.append((taker, quantity))
    return givers


def settle(order: Iterable[int], value: list[int], near: list[list[tuple[int, int]]], sign: int) -> None:
    """Raise (or with sign -1 lower) values along arcs until all hold; one pass if `order` is topological."""
    queue = list(order)
    queued = set(queue)
    at = 0
    while at < len(queue):
        one = queue[at]
        at += 1
        queued.discard(one)
        for two, length in near[one]:
            wanted = value[one] + sign * length
            if sign * wanted > sign * value[two]:
                value[two] = wanted
                if two not in queued:
                    queued.add(two)
                    queue.append(two)
