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
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ortools.sat.python import cp_model

from scheduler.planning.shop import FAR, Arrangement, Option, Shop, settle
from scheduler.planning.solver import Answer, Effort, solve

FIRST_SIZE, LEAST_SIZE = 60, 20
GROW, SHRINK = 1.02, 0.97
PATIENCE, WORSE = 30, 0.01
"""After so many turns without gain the arrangement is disturbed, and may get longer by this part."""
TURN_WORK = 0.08
"""Effort for one slice, in units of counted work; measured: three times as much per slice is slower."""


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
    settle(sorted(range(len(starts)), key=lambda i: -starts[i]), late, into, -1)
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
            length = sum(option.duration * literal for option, literal in zip(options, self.chosen[i], strict=True))
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
                    interval = self.cp.new_optional_fixed_size_interval_var(self.start[i], option.duration, literal, "")
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
