"""OCTOPUS's closed-packing schedule as a baseline: start what can start now, first come first served.

Whenever something ends, the tasks that are ready are looked at in the order of submission; one starts if
every device it will need, at the time it will need it, is free of the tasks that already run (device standby
time is used, as in OCTOPUS), and if the slots it takes are free now. There is no look-ahead beyond the task,
so windows between tasks are kept only by luck; nothing that has started is ever moved.
"""

from __future__ import annotations

import heapq

from scheduler.planning.calendars import NEVER
from scheduler.planning.plan import Plan
from scheduler.planning.policies.base import Request, judge
from scheduler.planning.table import UNPLACED, MaskingTable, arrival_order, say_refusal

Tasks = dict[str, list[list[int]]]


def plan(request: Request) -> Plan:
    """Dispatch tasks event by event."""
    table = MaskingTable(request.problem)
    jobs = [job.id for job in arrival_order(request.problem, table)]
    waiting = {job: _tasks(table, job) for job in jobs}
    events = [request.problem.now]
    events.extend(table.units[i].release for groups in waiting.values() for units in groups for i in units)
    events.extend(fixed.end for fixed in request.problem.fixed)
    for calendar in table.unary:
        events.extend(calendar.ends)
    heapq.heapify(events)
    unplaced: dict[str, str] = {}
    while events and any(waiting.values()):
        now = heapq.heappop(events)
        while events and events[0] == now:
            heapq.heappop(events)
        for job in jobs:
            for units in waiting[job][:]:
                if _starts_at(table, units, now):
                    waiting[job].remove(units)
                    for index in units:
                        unit = table.units[index]
                        variant = unit.variants[table.chosen[index]]
                        for offset, length in zip(variant.offsets, variant.durations, strict=True):
                            heapq.heappush(events, table.start[index] + offset + length)
                    for later in _lag_ends(table, units, now):
                        heapq.heappush(events, later)
    for job, groups in waiting.items():
        for units in groups:
            refusal = table.place(units, elastic=True)
            if refusal is not None:
                unplaced[job] = say_refusal(table, refusal)
    return judge(request, table.spans(), "closed_packing", unplaced, tight=request.limits.bounded)


def _tasks(table: MaskingTable, job: str) -> list[list[int]]:
    """Group a job's units by task, in placing order."""
    owner = {step.id: n for n, task in enumerate(table.jobs[job].tasks) for step in task.steps}
    groups: dict[int, list[int]] = {}
    for index in table.job_units[job]:
        groups.setdefault(owner[table.units[index].steps[0]], []).append(index)
    return list(groups.values())


def _starts_at(table: MaskingTable, units: list[int], now: int) -> bool:
    """Start a task at `now` if it can start right then; leave the table unchanged otherwise."""
    own = set(units)
    first = table.units[units[0]]
    for index in units:
        for other, away in table.units[index].lo:
            if other not in own and table.start[other] == UNPLACED and min(map(min, away)) >= 0:
                return False
    if first.release > now:
        return False
    # Windows to earlier tasks bind nobody here: place elastically, and accept only a start at once.
    if table.place(units, elastic=True, floor={units[0]: now}) is not None:
        return False
    if table.start[units[0]] != now:
        for index in reversed(units):
            table.unseat(index)
        return False
    return True


def _lag_ends(table: MaskingTable, units: list[int], now: int) -> list[int]:
    """Return when minimum lags from a started task run out."""
    times = []
    for index in units:
        for other, away, _ in table.units[index].hi:
            if table.start[other] == UNPLACED:
                least = -max(map(max, away))
                if 0 <= least < NEVER:
                    times.append(table.start[index] + least)
    return [time for time in times if time > now]
