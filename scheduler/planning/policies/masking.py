"""The masking table as a planner: insert everything in the best of several orders, then search over the
order.

What is ordered depends on the problem. Jobs, when there are several and their flow matters. Single units,
when only the makespan counts and no maximum lag ties them. All units in one list, repaired as a whole, when a
project is tied together by maximum lags.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

from scheduler.planning.limits import Clock
from scheduler.planning.network import alone
from scheduler.planning.plan import Plan
from scheduler.planning.policies.base import Request, better, judge, rejudge
from scheduler.planning.search import (
    WORST,
    Cost,
    Evaluator,
    Group,
    ListEvaluator,
    PrecedenceMove,
    improve,
)
from scheduler.planning.sequences import dispatch_order, predecessors, tails
from scheduler.planning.table import UNPLACED, MaskingTable, say_refusal

FIRST_PART = 0.5
"""Share of the limit for whole groups; the rest goes to single units."""
ALL_ORDERS = 4
"""Up to so many jobs are listed in every order."""
MOST_LISTED = 600
"""Up to this many steps a flow is also dispatched step by step: beyond, one list costs too much to repair."""


def plan(request: Request, *, tight: bool = True) -> Plan:
    """Insert, search within the limits, and return the best plan found or the incumbent.

    What was searched for is worth a good bound, unless `tight` is false.
    """
    clock = Clock(request.limits)
    incumbent = None if request.incumbent is None else rejudge(request, request.incumbent)
    if not any(step.id for step in request.problem.steps()):
        return judge(request, ({}, {}, {}), "masking")
    starts = [_start(request, arrange, clock) for arrange in _arrangements(request)]
    start = min(starts, key=lambda candidate: candidate.cost)
    clock.better()
    if request.limits.bounded:
        listed = any(len(group.units) > 1 for group in start.groups)
        _search(request, start, incumbent, FIRST_PART if listed else 1.0)
        if listed and not clock.over():
            start = _as_list(request, start, clock)
            _search(request, start, incumbent, 1.0)
    found = _finish(request, start, tight=tight and request.limits.bounded)
    best = better(found, incumbent)
    if best.bound is not None and found.bound is not None and found.bound > best.bound:
        value = best.objective[2]
        best = replace(best, bound=found.bound, gap=max(0.0, (value - found.bound) / value))
    return best


@dataclass(slots=True)
class _Start:
    """An arrangement of the units into groups, its table, and the best order so far."""

    table: MaskingTable
    groups: list[Group]
    evaluate: Evaluator
    order: list[int]
    cost: Cost
    move: PrecedenceMove | None


def _arrangements(request: Request) -> list[str]:
    """Return which kinds of order to try; the best one is searched on."""
    if request.objective == "makespan":
        return ["jobs", "units", "list"] if len(request.problem.jobs) == 1 else ["jobs", "units"]
    steps = sum(1 for _ in request.problem.steps())
    return ["jobs", "list"] if request.limits.bounded and steps <= MOST_LISTED else ["jobs"]


def _start(request: Request, arrange: str, clock: Clock) -> _Start:
    problem = request.problem
    table = MaskingTable(problem)
    groups = _groups(table, arrange)
    kind = ListEvaluator if arrange == "list" else Evaluator
    evaluate = kind(problem, table, groups, request.objective, request.incumbent, clock)
    best: list[int] = list(range(len(groups)))
    cost: Cost = WORST
    for order in _orders(request, table, groups, arrange):
        if cost is not WORST and clock.over():
            break
        found = evaluate(order, limit=cost)
        if found < cost:
            best, cost = list(order), found
    move = None if arrange == "jobs" else PrecedenceMove(predecessors(table, groups))
    return _Start(table, groups, evaluate, best, cost, move)


def _as_list(request: Request, start: _Start, clock: Clock) -> _Start:
    """Take the groups apart: the same order of single units, placed and repaired as one list."""
    table = MaskingTable(request.problem)
    groups = _groups(table, "list")
    number = {group.units[0]: n for n, group in enumerate(groups)}
    evaluate = ListEvaluator(request.problem, table, groups, request.objective, request.incumbent, clock)
    order = [number[index] for n in start.order for index in start.groups[n].units]
    cost = evaluate(order)
    if cost > start.cost:
        # Repair across groups may go another way; then the groups stay as they are.
        return start
    return _Start(table, groups, evaluate, order, cost, PrecedenceMove(predecessors(table, groups)))


def _search(request: Request, start: _Start, incumbent: Plan | None, until: float) -> None:
    def tell(_: Cost) -> None:
        if request.progress is not None:
            found = judge(request, start.table.spans(), "masking")
            request.progress(start.evaluate.clock.spent(), better(found, incumbent))

    start.order, start.cost = improve(
        start.evaluate, start.order, start.cost, request.seed, move=start.move, on_better=tell, until=until
    )


def _finish(request: Request, start: _Start, *, tight: bool) -> Plan:
    table = start.table
    start.evaluate.snapshots = {}
    start.evaluate(start.order)
    unplaced = {}
    for group in start.groups:
        if any(table.start[index] == UNPLACED for index in group.units):
            refusal = table.place([index for index in group.units if table.start[index] == UNPLACED])
            if refusal is not None:
                unplaced[table.units[group.units[0]].job] = say_refusal(table, refusal)
    return judge(request, table.spans(), "masking", unplaced, tight=tight)


def _groups(table: MaskingTable, arrange: str) -> list[Group]:
    groups = []
    for number, job in enumerate(table.problem.jobs):
        units = table.job_units[job.id]
        if not units:
            continue
        if arrange == "jobs":
            groups.append(Group(units, number))
        elif arrange == "list":
            groups.extend(Group([index], number) for index in units)
        else:
            groups.extend(Group(part, number) for part in _tied(table, units))
    return groups


def _tied(table: MaskingTable, units: list[int]) -> list[list[int]]:
    """Split a job's units into parts that no maximum lag ties together, in placing order."""
    root = {index: index for index in units}

    def find(index: int) -> int:
        while root[index] != index:
            index = root[index]
        return index

    for index in units:
        for other, away, cost in table.units[index].hi:
            # The mirror of a plain precedence is no tie: it bounds a predecessor by its successor.
            if other in root and (cost is not None or max(map(max, away)) >= 0):
                root[find(index)] = find(other)
        for hold in (*table.units[index].opens, *table.units[index].closes):
            if hold.first in root and hold.last in root:
                root[find(hold.first)] = find(hold.last)
    parts: dict[int, list[int]] = {}
    for index in units:
        parts.setdefault(find(index), []).append(index)
    return list(parts.values())


def _orders(request: Request, table: MaskingTable, groups: list[Group], arrange: str) -> list[Sequence[int]]:
    """Return orders to start from, most promising first."""
    problem = request.problem
    numbers = range(len(groups))
    if arrange == "list" and request.objective != "makespan":
        return _dispatched(request, table, groups)
    if arrange != "jobs":
        tail = tails(table)
        rank = [max(tail[index] for index in group.units) for group in groups]
        by_tail = sorted(numbers, key=lambda n: (-rank[n], n))
        if arrange == "list":
            return [list(numbers), by_tail]
        return [dispatch_order(table, groups, rank), by_tail, list(numbers)]
    length = alone(problem)
    jobs = [problem.jobs[group.job] for group in groups]
    under_way = {table.units[table.unit_of[fixed.step]].job for fixed in problem.fixed}
    first = [job.id not in under_way for job in jobs]
    weight = [max(1, job.weight) for job in jobs]
    orders: list[Sequence[int]] = []
    if request.incumbent is not None:
        starts = request.incumbent.starts
        when = [min((starts[s.id] for s in job.steps() if s.id in starts), default=1 << 60) for job in jobs]
        orders.append(sorted(numbers, key=lambda n: (when[n], jobs[n].release, n)))
    orders.append(sorted(numbers, key=lambda n: (first[n], jobs[n].release, n)))
    orders.append(sorted(numbers, key=lambda n: (first[n], jobs[n].release + length[jobs[n].id] / weight[n], n)))
    orders.append(sorted(numbers, key=lambda n: (first[n], length[jobs[n].id] / weight[n], n)))
    orders.append(sorted(numbers, key=lambda n: (first[n], -length[jobs[n].id], n)))
    work = _busiest_work(table, groups)
    orders.append(sorted(numbers, key=lambda n: (first[n], jobs[n].release + 3 * work[n] / weight[n], n)))
    orders.append(sorted(numbers, key=lambda n: (first[n], work[n] / weight[n], n)))
    if any(not late for late in first):
        orders.append(sorted(numbers, key=lambda n: (work[n] / weight[n], n)))
    return orders


def _dispatched(request: Request, table: MaskingTable, groups: list[Group]) -> list[Sequence[int]]:
    """Return orders of single units: as in the plan in force, and with the least left of a job first."""
    orders: list[Sequence[int]] = []
    first = [table.units[group.units[0]].steps[0] for group in groups]
    if request.incumbent is not None:
        starts = request.incumbent.starts
        orders.append(sorted(range(len(groups)), key=lambda n: (starts.get(first[n], 1 << 60), n)))
    tail, left = tails(table), [0] * len(request.problem.jobs)
    for group in groups:
        left[group.job] = max(left[group.job], tail[group.units[0]])
    weight = [max(1, job.weight) for job in request.problem.jobs]
    rank = [-left[group.job] // weight[group.job] for group in groups]
    orders.append(dispatch_order(table, groups, rank))
    # What a window ties to something that has begun cannot wait for anybody.
    urgent = [any(table.units[other].pinned is not None for other, _, _ in table.units[g.units[0]].hi) for g in groups]
    orders.append(sorted(orders[-1], key=lambda n: not urgent[n]))
    orders.extend(_by_job(groups, left, urgent))
    return orders


def _by_job(groups: list[Group], left: list[int], urgent: list[bool]) -> Iterator[Sequence[int]]:
    """Yield orders of single units by job, urgent ones first: every order of a few jobs, the shortest of many first."""
    jobs = sorted({group.job for group in groups}, key=lambda job: left[job])
    for order in permutations(jobs) if len(jobs) <= ALL_ORDERS else [jobs]:
        place = {job: n for n, job in enumerate(order)}
        yield sorted(range(len(groups)), key=lambda n: (not urgent[n], place[groups[n].job], n))


def _busiest_work(table: MaskingTable, groups: list[Group]) -> list[int]:
    """Return each group's time on the device that all together need most."""
    work: list[dict[int, int]] = []
    for group in groups:
        own: dict[int, int] = {}
        for index in group.units:
            for variant in table.units[index].variants[:1]:
                for number, _, length in variant.unary:
                    own[number] = own.get(number, 0) + length
        work.append(own)
    total: dict[int, int] = {}
    for own in work:
        for number, length in own.items():
            total[number] = total.get(number, 0) + length
    if not total:
        return [0] * len(groups)
    busiest = max(total, key=lambda number: total[number])
    return [own.get(busiest, 0) for own in work]
