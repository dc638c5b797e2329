"""Bring steps forward that wait without need.

A solver that has the last word on the objective leaves everything else to chance: steps that nobody waits for
stand anywhere in their slack. Whoever comes next then finds the devices busy late that could have been busy
early. So every unit is moved to its earliest place among all others, in the order of starts, until nothing
moves any more. No step ends later, so no objective gets worse.
"""

from __future__ import annotations

from scheduler.planning.plan import Plan
from scheduler.planning.problem import Problem
from scheduler.planning.repair import wishes
from scheduler.planning.table import UNPLACED, MaskingTable

MOST_ROUNDS = 4

Spans = tuple[dict[str, int], dict[str, int], dict[str, int]]


def bring_forward(problem: Problem, plan: Plan) -> Spans | None:
    """Return the plan with every step as early as the others allow; None if the table cannot hold it."""
    table = MaskingTable(problem)
    wanted = wishes(table, plan)
    order = sorted(wanted, key=lambda index: wanted[index])
    for index in order:
        if not table.seat_exactly(index, *wanted[index]):
            return None
    if any(start == UNPLACED and unit.steps for unit, start in zip(table.units, table.start, strict=True)):
        return None
    for _ in range(MOST_ROUNDS):
        moved = [_move(table, index) for index in order]
        if not any(moved):
            break
        order.sort(key=table.start.__getitem__)
    return table.spans()


def _move(table: MaskingTable, index: int) -> bool:
    """Move one unit to its earliest place in its variant; return whether it moved."""
    start, chosen = table.start[index], table.chosen[index]
    table.unseat(index)
    if table.place([index]) is None:
        if table.start[index] < start and table.chosen[index] == chosen:
            return True
        table.unseat(index)
    if not table.seat_exactly(index, start, chosen):
        raise AssertionError(f"unit {index} has lost its place")
    return False
