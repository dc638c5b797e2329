"""Orders of units for problems in which single steps compete, such as shops and projects."""

from __future__ import annotations

from collections.abc import Sequence

from scheduler.planning.calendars import ALWAYS, NEVER
from scheduler.planning.search import Group
from scheduler.planning.table import UNPLACED, MaskingTable


def tails(table: MaskingTable) -> dict[int, int]:
    """Return the least time in ticks from each unit's start to the end of all that must follow it."""
    after: dict[int, list[tuple[int, int]]] = {unit.index: [] for unit in table.units}
    missing = dict.fromkeys(after, 0)
    for unit in table.units:
        for other, away in unit.lo:
            least = min(map(min, away))
            if least >= 0:
                after[other].append((unit.index, least))
                missing[other] += 1
    before: dict[int, list[int]] = {index: [] for index in after}
    for index, rows in after.items():
        for other, _ in rows:
            before[other].append(index)
    tail = {unit.index: min((v.span for v in unit.variants), default=0) for unit in table.units}
    ready = [index for index, count in missing.items() if count == 0]
    while ready:
        index = ready.pop()
        for other in before[index]:
            length = max(least for to, least in after[other] if to == index)
            tail[other] = max(tail[other], length + tail[index])
            missing[other] -= 1
            if missing[other] == 0:
                ready.append(other)
    return tail


def predecessors(table: MaskingTable, groups: Sequence[Group]) -> list[set[int]]:
    """Return, for each group, the groups that must stand before it in any order."""
    owner = {index: number for number, group in enumerate(groups) for index in group.units}
    before: list[set[int]] = [set() for _ in groups]
    for index, number in owner.items():
        for other, away in table.units[index].lo:
            if other in owner and owner[other] != number and min(map(min, away)) >= 0:
                before[number].add(owner[other])
    return before


def dispatch_order(table: MaskingTable, groups: Sequence[Group], rank: Sequence[int]) -> list[int]:
    """Return the order in which a non-delay dispatcher starts groups: whatever can start first, then highest
    rank.

    The table is left as it was.
    """
    before = predecessors(table, groups)
    left = [len(others) for others in before]
    after: list[list[int]] = [[] for _ in groups]
    for number, others in enumerate(before):
        for other in others:
            after[other].append(number)
    ready = [number for number, count in enumerate(left) if count == 0]
    order: list[int] = []
    placed: list[int] = []
    earliest: dict[int, int] = {}
    while ready:
        best, best_key = -1, (NEVER, 0, 0)
        for number in ready:
            # A start can only move later while the table fills, so a stale value is a bound.
            if earliest.get(number, ALWAYS) > best_key[0]:
                continue
            start = _earliest(table, groups[number].units[0])
            earliest[number] = start
            key = (start, -rank[number], number)
            if key < best_key:
                best, best_key = number, key
        if best < 0:
            best = ready[0]
        ready.remove(best)
        order.append(best)
        if table.place(groups[best].units) is None:
            placed.extend(groups[best].units)
        for other in after[best]:
            left[other] -= 1
            if left[other] == 0:
                ready.append(other)
    for index in reversed(placed):
        table.unseat(index)
    reached = set(order)
    order.extend(number for number in range(len(groups)) if number not in reached)
    return order


def _earliest(table: MaskingTable, index: int) -> int:
    unit = table.units[index]
    best = NEVER
    for number, variant in enumerate(unit.variants):
        time = unit.release
        for other, away in unit.lo:
            at = table.start[other]
            if at != UNPLACED:
                time = max(time, at + away[table.chosen[other]][number])
        best = min(best, table.fit(variant, time))
    return best
