"""Local search over the order in which the masking table inserts.

An order is turned into a plan by placing one group of units after the other (a job, or a single unit); the
search moves groups within the order. Late acceptance hill climbing (Burke and Bykov 2017) works on the
ordered objective as it is, without weights. Two things make an evaluation cheap: the part of the order before
the first change is restored from a snapshot, and an evaluation ends as soon as its partial cost exceeds what
could be accepted.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scheduler.planning.limits import Clock
from scheduler.planning.network import alone
from scheduler.planning.objective import IMMINENT_SECONDS, STRETCH_LIMIT, TARDINESS_FACTOR, ObjectiveName
from scheduler.planning.plan import Plan
from scheduler.planning.problem import Problem
from scheduler.planning.table import UNPLACED, MaskingTable, Snapshot

Cost = tuple[int, ...]
WORST: Cost = (1 << 60,)
HISTORY = 12
STALE_TURNS = 40
STUCK_TURNS = 20
"""After so many turns for each group without a better order the search goes on from elsewhere …"""
MOST_STUCK_TURNS = 400
"""… but after so many at the latest."""
KICK = 3
"""Random moves from the best order to there."""


@dataclass(slots=True)
class Group:
    """Units that are placed together, in this order; `job` is the number of their job."""

    units: list[int]
    job: int


class Evaluator:
    """Cost of orders of one problem, with the objective's tuple computed from units.

    Parameters
    ----------
    problem, table
        The table must hold nothing but what is fixed.
    groups
        What the orders are made of; each unit of the table that is not pinned occurs once.
    name, incumbent
        As in `scheduler.planning.objective.Objective`.
    """

    def __init__(
        self,
        problem: Problem,
        table: MaskingTable,
        groups: list[Group],
        name: ObjectiveName,
        incumbent: Plan | None,
        clock: Clock,
    ) -> None:
        self.table, self.groups, self.name, self.clock = table, groups, name, clock
        self.base = table.snapshot()
        self.jobs = problem.jobs
        lengths = alone(problem)
        self.alone = [lengths[job.id] for job in problem.jobs]
        self.limit = [STRETCH_LIMIT * length for length in self.alone]
        ends = {fixed.step: fixed.end for fixed in problem.fixed}
        self.finish_floor = [
            max((ends[step.id] for step in job.steps() if step.id in ends), default=problem.now) for job in problem.jobs
        ]
        self.groups_of = [0] * len(problem.jobs)
        for group in groups:
            self.groups_of[group.job] += 1
        self.hard = [
            (unit.index, other, table_, cost)
            for unit in table.units
            for other, table_, cost in unit.hi
            if unit.pinned is None or table.units[other].pinned is None
        ]
        self.soft = [row for row in self.hard if row[3] is not None]
        self.imminent: list[tuple[int, int, int, int]] = []
        if incumbent is not None and name == "lab":
            horizon = problem.now + int(IMMINENT_SECONDS / problem.tick)
            for step, before in incumbent.starts.items():
                if before <= horizon and step in table.unit_of:
                    index = table.unit_of[step]
                    position = table.units[index].steps.index(step)
                    self.imminent.append((index, position, before, incumbent.modes.get(step, 0)))
        self.snapshots: dict[int, tuple[Snapshot, list[int], int, int, bool]] = {}
        self.fresh = self.snapshots
        self.stride = max(3, len(groups) // 12)
        self.unplaced: set[int] = set()
        # What the jobs cost at the very least: the cost of those that are not placed yet.
        begun = {table.units[table.unit_of[step]].job for step in ends}
        self.least = [
            self._job_cost(n, self.finish_floor[n] if job.id in begun else job.release + self.alone[n])
            for n, job in enumerate(self.jobs)
        ]

    def _job_cost(self, number: int, finish: int) -> int:
        job = self.jobs[number]
        flow = cost = finish - job.release
        if self.name == "lab":
            if flow > self.limit[number]:
                cost += flow - self.limit[number]
            if job.due is not None and finish > job.due:
                cost += TARDINESS_FACTOR * (finish - job.due)
        return job.weight * cost

    def __call__(self, order: Sequence[int], since: int = 0, limit: Cost = WORST) -> Cost:
        """Place everything in the given order of groups and return the cost; `WORST` if it exceeds `limit`.

        Parameters
        ----------
        order
            Numbers of groups.
        since
            The order is the same as the last adopted one before this position.
        limit
            A cost that is not worth exceeding.
        """
        table, groups = self.table, self.groups
        at = max((n for n in self.snapshots if n <= since), default=0) if since else 0
        if at:
            snapshot, finish, makespan, failed, forced = self.snapshots[at]
            table.restore(snapshot)
            finish = finish[:]
        else:
            table.restore(self.base)
            finish, failed, forced = self.finish_floor[:], 0, False
            makespan = max(finish, default=0)
        self.fresh = {n: kept for n, kept in self.snapshots.items() if n <= at}
        prune = limit is not WORST and limit[0] == 0 and limit[1] == 0
        flow_limit = limit[2] if prune else 0
        bound = self._started_cost(finish, order[:at]) if prune and self.name != "makespan" else 0
        left = self._left(order, at) if prune and self.name != "makespan" else []
        for position in range(at, len(order)):
            if position and position % self.stride == 0 and position not in self.fresh:
                self.fresh[position] = (table.snapshot(), finish[:], makespan, failed, forced)
            group = groups[order[position]]
            self.clock.work += len(group.units)
            refusal = table.place(group.units)
            if refusal is not None:
                forced = True
                refusal = table.place(group.units, elastic=True)
                if refusal is not None:
                    failed += len(group.units)
                    continue
            last = finish[group.job]
            for index in group.units:
                end = table.start[index] + table.units[index].variants[table.chosen[index]].span
                if end > last:
                    last = end
            finish[group.job] = last
            if last > makespan:
                makespan = last
            if prune:
                if self.name == "makespan":
                    if makespan > flow_limit:
                        return WORST
                else:
                    left[group.job] -= 1
                    if left[group.job] == 0:
                        bound += self._job_cost(group.job, last) - self.least[group.job]
                        if bound > flow_limit:
                            return WORST
        return self._cost(finish, makespan, failed, forced)

    def _left(self, order: Sequence[int], at: int) -> list[int]:
        left = self.groups_of[:]
        for number in order[:at]:
            left[self.groups[number].job] -= 1
        return left

    def _started_cost(self, finish: list[int], placed: Sequence[int]) -> int:
        left = self._left(placed, len(placed))
        return sum(
            self._job_cost(n, finish[n]) if left[n] == 0 and self.groups_of[n] else self.least[n]
            for n in range(len(self.jobs))
        )

    def adopt(self) -> None:
        """Make the order of the last call the one that later calls share a beginning with."""
        self.snapshots = self.fresh

    def _cost(self, finish: list[int], makespan: int, failed: int, forced: bool) -> Cost:
        table = self.table
        start, chosen = table.start, table.chosen
        windows = 0
        for index, other, away, cost in self.hard if forced else self.soft:
            one, two = start[index], start[other]
            if one != UNPLACED and two != UNPLACED:
                late = one - two - away[chosen[other]][chosen[index]]
                if late > 0:
                    if cost is None:
                        failed += 1
                    else:
                        windows += late * cost
        for n, job in enumerate(self.jobs):
            if job.deadline is not None and finish[n] > job.deadline:
                failed += 1
        if self.name == "makespan":
            return (failed, windows, makespan)
        flow = sum(self._job_cost(n, end) for n, end in enumerate(finish))
        if self.name == "flow":
            return (failed, windows, flow, makespan)
        return (failed, windows, flow, makespan, self._churn())

    def _churn(self) -> int:
        table, total = self.table, 0
        for index, position, before, mode in self.imminent:
            start = table.start[index]
            if start != UNPLACED:
                variant = table.units[index].variants[table.chosen[index]]
                total += abs(start + variant.offsets[position] - before) + (variant.modes[position] != mode)
        return total


class ListEvaluator(Evaluator):
    """Places all groups as one list, so that repair may raise whatever a maximum lag ties together."""

    def __call__(self, order: Sequence[int], since: int = 0, limit: Cost = WORST) -> Cost:
        """Place everything in the given order and return the cost."""
        table = self.table
        table.restore(self.base)
        units = [index for number in order for index in self.groups[number].units]
        self.clock.work += 4 * len(units)
        forced = table.place(units) is not None
        failed = 0
        if forced and table.place(units, elastic=True) is not None:
            failed = len(units)
        finish = self.finish_floor[:]
        for number in order:
            group = self.groups[number]
            for index in group.units:
                if table.start[index] != UNPLACED:
                    end = table.start[index] + table.units[index].variants[table.chosen[index]].span
                    finish[group.job] = max(finish[group.job], end)
        return self._cost(finish, max(finish, default=0), failed, forced)


def improve(
    evaluate: Evaluator,
    order: list[int],
    cost: Cost,
    seed: int,
    *,
    move: Callable[[list[int], random.Random], tuple[list[int], int]] | None = None,
    on_better: Callable[[Cost], None] | None = None,
    until: float = 1.0,
) -> tuple[list[int], Cost]:
    """Improve an order until the clock runs out.

    Parameters
    ----------
    evaluate
        The cost function; its clock ends the search.
    order, cost
        Where to start.
    seed
        Of the random moves.
    move
        Gives a neighbour of an order and the first position at which it differs; by default any group goes
        anywhere.
    on_better
        Called with each new best cost.
    until
        Share of the clock's limit at which to stop. With less than 1, also stop when nothing has improved for
        long.

    Returns
    -------
    order, cost
        The best found.
    """
    rng = random.Random(seed)
    best, best_cost = order[:], cost
    current, current_cost = order[:], cost
    evaluate(current)
    evaluate.adopt()
    history = [cost] * HISTORY
    turn = idle = 0
    count = len(order)
    if count < 2:
        return best, best_cost
    clock = evaluate.clock
    stuck = min(MOST_STUCK_TURNS, STUCK_TURNS * count)
    stale, patience = 0, max(300, STALE_TURNS * count) if until < 1.0 else 1 << 60
    while not clock.over() and clock.spent() < until and stale < patience:
        turn += 1
        stale += 1
        trial, since = (move or any_move)(current, rng)
        if trial == current:
            idle += 1
            if idle > 2000:
                break
            continue
        idle = 0
        bar = max(current_cost, history[turn % HISTORY])
        found = evaluate(trial, since, bar)
        if found <= bar:
            if found < best_cost:
                best, best_cost = trial[:], found
                stale = 0
                clock.better()
                if on_better is not None:
                    on_better(best_cost)
            current, current_cost = trial, found
            evaluate.adopt()
        history[turn % HISTORY] = current_cost
        if turn % stuck == 0 and (current_cost > best_cost or stale >= stuck):
            # Late acceptance never leaves an order whose neighbours are all worse.
            current = best[:]
            for _ in range(KICK if stale >= stuck else 0):
                current, _ = (move or any_move)(current, rng)
            current_cost = evaluate(current)
            evaluate.adopt()
            history = [current_cost] * HISTORY
    return best, best_cost


def any_move(order: list[int], rng: random.Random) -> tuple[list[int], int]:
    """Return a neighbour and the first position at which it differs."""
    count = len(order)
    kind = rng.random()
    trial = order[:]
    one = rng.randrange(count)
    reach = count if rng.random() < 0.5 else max(2, count // 6)
    two = min(count - 1, max(0, one + rng.randint(-reach, reach)))
    if kind < 0.6:
        trial.insert(two, trial.pop(one))
    elif kind < 0.85:
        trial[one], trial[two] = trial[two], trial[one]
    else:
        low, high = min(one, two), min(count, max(one, two) + 1)
        block = trial[low : min(high, low + 4)]
        del trial[low : low + len(block)]
        at = rng.randrange(len(trial) + 1)
        trial[at:at] = block
        return trial, min(low, at)
    return trial, min(one, two)


class PrecedenceMove:
    """Moves one group at a time to any place between its last predecessor and its first successor."""

    def __init__(self, before: list[set[int]]) -> None:
        self.before = before
        self.after: list[set[int]] = [set() for _ in before]
        for number, others in enumerate(before):
            for other in others:
                self.after[other].add(number)

    def __call__(self, order: list[int], rng: random.Random) -> tuple[list[int], int]:
        """Return a neighbour and the first position at which it differs."""
        at = rng.randrange(len(order))
        group = order[at]
        low = at
        while low > 0 and order[low - 1] not in self.before[group]:
            low -= 1
        high = at
        while high + 1 < len(order) and order[high + 1] not in self.after[group]:
            high += 1
        if low == high:
            return order, at
        to = rng.randint(low, high)
        trial = order[:]
        trial.insert(to, trial.pop(at))
        return trial, min(at, to)
