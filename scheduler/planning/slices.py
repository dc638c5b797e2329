"""Time slices: the neighbourhood for a short makespan in shops and projects.

What stands before the slice stays where it is, as early as it can be. What stands after it becomes a rigid
block, each step as late as the end allows, that may only slide to the front as a whole: exactly the heads and
tails of shop scheduling, for cumulative resources and maximum lags too. Only the steps in the slice are
decided, so that the solver sees a small problem however large the whole is; every tick the block slides is a
tick of makespan.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ortools.sat.python import cp_model

from scheduler.planning.plan import Plan
from scheduler.planning.problem import Problem, all_lags
from scheduler.planning.solver import Answer, Effort, solve

Arc = tuple[int, int, int]
"""``start(second) >= start(first) + length``."""
FAR = 1 << 60
FIRST_SIZE, LEAST_SIZE = 60, 20
GROW, SHRINK = 1.02, 0.97
PATIENCE, WORSE = 30, 0.01
"""After so many turns without gain the arrangement is disturbed, and may get longer by this part."""
TURN_WORK = 0.08
"""Effort for one slice, in units of counted work; measured: three times as much per slice is slower."""


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
        shift = (durations[self.first] if self.first_end else 0) - (
            durations[self.second] if self.second_end else 0
        )
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
        return Arrangement(
            [plan.starts[name] for name in self.names], [plan.modes.get(name, 0) for name in self.names]
        )

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
        _settle(order, starts, out, 1)
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
    free = [
        (starts[giver] + durations[giver] if giver >= 0 else -FAR, n) for n, (giver, _) in enumerate(pool)
    ]
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


def _settle(order: Iterable[int], value: list[int], near: list[list[tuple[int, int]]], sign: int) -> None:
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


@dataclass(slots=True)
class Cut:
    """What is decided, and where all else stands: `before` stays, `after` slides."""

    free: list[int]
    before: list[int]
    after: list[int]
    starts: list[int]


def cut(shop: Shop, arrangement: Arrangement, inside: set[int]) -> Cut:
    """Split around the steps `inside`: what starts before the middle stays, what follows is put as late as
    possible.

    `arrangement` has every step as early as it can be.
    """
    durations, starts = shop.durations(arrangement), arrangement.starts
    last = shop.makespan(arrangement)
    low = min(starts[i] + durations[i] for i in inside)
    high = max(starts[i] for i in inside)
    middle = (low + high) / 2
    before = [i for i in range(len(starts)) if i not in inside and starts[i] + durations[i] / 2 <= middle]
    fixed = set(before)
    after = [i for i in range(len(starts)) if i not in inside and i not in fixed]
    late = [last - length for length in durations]
    for i in before:
        late[i] = starts[i]
    into: list[list[tuple[int, int]]] = [[] for _ in starts]
    for one, two, length in shop.arcs(arrangement):
        if one not in fixed:
            into[two].append((one, length))
    _settle(sorted(range(len(starts)), key=lambda i: -starts[i]), late, into, -1)
    return Cut(sorted(inside), before, after, late)


class SliceModel:
    """The decisions of one slice as a CP-SAT model that slides what comes after as far as possible."""

    def __init__(self, shop: Shop, arrangement: Arrangement, piece: Cut, worse: int = 0) -> None:
        self.shop, self.piece, self.arrangement = shop, piece, arrangement
        self.cp = cp_model.CpModel()
        self.last, self.worse = shop.makespan(arrangement), worse
        self.furthest = max(1, self.last // 20)
        self.slide = self.cp.new_int_var(-worse, self.furthest, "")
        self.start: dict[int, Any] = {}
        self.end: dict[int, Any] = {}
        self.chosen: dict[int, list[Any]] = {}
        self.machines: dict[int, list[Any]] = defaultdict(list)
        self.takers: dict[int, list[tuple[Any, int]]] = defaultdict(list)
        durations = shop.durations(arrangement)
        for i in piece.before:
            self.start[i], self.end[i] = piece.starts[i], piece.starts[i] + durations[i]
        for i in piece.after:
            self.start[i] = piece.starts[i] - self.slide
            self.end[i] = piece.starts[i] + durations[i] - self.slide
        for i in piece.free:
            self._decide(i, shop.options[i])
        self._lags()
        self._capacity(durations)
        self.cp.maximize(self.slide)

    def _decide(self, i: int, options: list[Option]) -> None:
        shortest = min(option.duration for option in options)
        latest = max(self.shop.release[i], self.last + self.worse - shortest)
        start = self.cp.new_int_var(self.shop.release[i], latest, "")
        self.start[i] = start
        if len(options) == 1:
            self.chosen[i] = [True]
            self.end[i] = start + options[0].duration
        else:
            self.chosen[i] = [self.cp.new_bool_var("") for _ in options]
            self.cp.add_exactly_one(self.chosen[i])
            # A variable of its own, since the ends of intervals (holds) have to be affine.
            self.end[i] = self.cp.new_int_var(0, self.last + self.worse, "")
            length = sum(
                option.duration * literal for option, literal in zip(options, self.chosen[i], strict=True)
            )
            self.cp.add(self.end[i] == start + length)
        self.cp.add(self.end[i] <= self.last - self.slide)

    def _lags(self) -> None:
        side = dict.fromkeys(self.piece.before, 0)
        side.update(dict.fromkeys(self.piece.after, 1))
        for rule in self.shop.rules:
            one, two = side.get(rule.first, 2), side.get(rule.second, 2)
            if one == two and one != 2:
                continue
            gap = (self.end if rule.second_end else self.start)[rule.second]
            gap = gap - (self.end if rule.first_end else self.start)[rule.first]
            if rule.min is not None:
                self.cp.add(gap >= rule.min)
            if rule.max is not None:
                self.cp.add(gap <= rule.max)

    def _capacity(self, durations: list[int]) -> None:
        """Devices and resources, with all that stands close enough to matter."""
        self._free_intervals()
        low, high = self._reach(durations)
        before, after, starts = set(self.piece.before), set(self.piece.after), self.piece.starts
        last = max((starts[i] + durations[i] for i in before), default=0)
        first = min((starts[i] for i in after), default=FAR)
        low, high = min(low, first - self.furthest), max(high + self.worse, last + self.furthest)
        for i in (*self.piece.before, *self.piece.after):
            stands = starts[i] + durations[i] <= low if i in before else starts[i] >= high
            if durations[i] and not stands:
                option = self.shop.options[i][self.arrangement.modes[i]]
                interval = self.cp.new_fixed_size_interval_var(self.start[i], durations[i], "")
                self._occupy(interval, option)
        for one, two, resource, quantity in self.shop.holds:
            if one in before and two in before and starts[two] + durations[two] <= low:
                continue
            if one in after and two in after and starts[one] >= high:
                continue
            size = self.cp.new_int_var(0, self.last + self.worse, "")
            interval = self.cp.new_interval_var(self.start[one], size, self.end[two], "")
            self.takers[resource].append((interval, quantity))
        for intervals in self.machines.values():
            self.cp.add_no_overlap(intervals)
        for resource, rows in self.takers.items():
            self.cp.add_cumulative(
                [interval for interval, _ in rows],
                [need for _, need in rows],
                self.shop.capacities[resource],
            )

    def _occupy(self, interval: cp_model.IntervalVar, option: Option) -> None:
        for device in option.devices:
            self.machines[device].append(interval)
        for resource, quantity in option.demands:
            self.takers[resource].append((interval, quantity))

    def _free_intervals(self) -> None:
        for i in self.piece.free:
            for option, literal in zip(self.shop.options[i], self.chosen[i], strict=True):
                if option.duration == 0:
                    continue
                if literal is True:
                    interval = self.cp.new_fixed_size_interval_var(self.start[i], option.duration, "")
                else:
                    interval = self.cp.new_optional_fixed_size_interval_var(
                        self.start[i], option.duration, literal, ""
                    )
                self._occupy(interval, option)

    def _reach(self, durations: list[int]) -> tuple[int, int]:
        """Return the earliest start and the latest end that any free step can have, by lags alone."""
        shop, starts, before = self.shop, self.piece.starts, set(self.piece.before)
        free = set(self.piece.free)
        low, high = FAR, -FAR
        for i in free:
            head, tail = shop.release[i], self.last
            for rule in shop.rules_of[i]:
                if rule.second_end and len(shop.options[i]) > 1:
                    continue
                for one, two, length in rule.arcs(durations):
                    if two == i and one in before:
                        head = max(head, starts[one] + length)
                    if one == i and two not in free and two not in before:
                        tail = min(tail, starts[two] - length + durations[i])
            low, high = min(low, head), max(high, tail)
        return low, high

    def scatter(self, rng: random.Random) -> None:
        """Ask for any other arrangement instead of the shortest."""
        self.cp.maximize(sum(rng.randint(-9, 9) * self.start[i] for i in self.piece.free))

    def solve(self, effort: Effort) -> tuple[Answer, Arrangement | None]:
        """Return the answer and, if there is one, the whole new arrangement."""
        answer, solver = solve(self.cp, effort)
        if not answer.solved:
            return answer, None
        starts = [solver.value(self.start[i]) for i in range(len(self.shop.names))]
        modes = self.arrangement.modes[:]
        for i in self.piece.free:
            if len(self.chosen[i]) > 1:
                modes[i] = next(n for n, c in enumerate(self.chosen[i]) if solver.boolean_value(c))
        return answer, Arrangement(starts, modes)


class Slicer:
    """Solves one random slice after another, and learns how large they can be."""

    def __init__(self, shop: Shop, arrangement: Arrangement, seed: int) -> None:
        self.shop, self.rng = shop, random.Random(seed)
        self.best = self.current = shop.earliest(arrangement)
        self.last = shop.makespan(self.best)
        self.idle = 0
        self._flexible = any(len(options) > 1 for options in shop.options)
        self.size = float(FIRST_SIZE)

    def turn(self, stop: Callable[[], bool]) -> Answer:
        """Solve one slice; an arrangement of equal length is taken too, so that the search keeps moving."""
        if self.idle == PATIENCE:
            return self._scatter(stop)
        if self.idle == 3 * PATIENCE:
            self.current, self.idle = self.best, 0
        piece = cut(self.shop, self.current, self._draw())
        model = SliceModel(self.shop, self.current, piece)
        answer, found = model.solve(self._effort(stop))
        growth = GROW if answer.work < TURN_WORK / 2 else SHRINK
        self.size = min(max(self.size * growth, LEAST_SIZE), 1.0 * len(self.shop.names))
        self.idle += 1
        if found is not None:
            self._take(found)
        return answer

    def _take(self, found: Arrangement) -> None:
        found = self.shop.earliest(found)
        before, last = self.shop.makespan(self.current), self.shop.makespan(found)
        if last <= before:
            self.current = found
        if last < before:
            self.idle = min(self.idle, PATIENCE + 1) if last >= self.last else 0
        if last < self.last:
            self.best, self.last = found, last

    def _scatter(self, stop: Callable[[], bool]) -> Answer:
        """Leave a dead end: disturb a slice, a little longer if need be."""
        self.idle += 1
        piece = cut(self.shop, self.current, self._draw())
        model = SliceModel(self.shop, self.current, piece, max(1, int(self.last * WORSE)))
        model.scatter(self.rng)
        answer, found = model.solve(self._effort(stop))
        if found is not None:
            self.current = self.shop.earliest(found)
        return answer

    def _effort(self, stop: Callable[[], bool]) -> Effort:
        return Effort(None, TURN_WORK, 1, self.rng.randrange(1 << 30), stop, light=not self._flexible)

    def _draw(self) -> set[int]:
        starts = self.current.starts
        durations = self.shop.durations(self.current)
        order = sorted(range(len(starts)), key=lambda i: 2 * starts[i] + durations[i])
        count = min(round(self.size), len(order))
        first = self.rng.randint(-count // 2, len(order) - count // 2)
        first = min(max(first, 0), len(order) - count)
        return set(order[first : first + count])
