"""Fill a masking table with everything that is not fixed, in an order. Planner children do it too: no Django here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import structlog

from scheduler.planning.checker import hard_violations
from scheduler.planning.plan import Plan
from scheduler.planning.problem import Problem
from scheduler.planning.table import MaskingTable, say_refusal

log = structlog.get_logger("octolab.scheduler")

Table = TypeVar("Table", bound=MaskingTable)
Rank = Callable[[str], tuple[float, ...]]
"""First step of a unit → its place in the order."""


def fill(table: Table, rank: Rank, floor: Mapping[str, int] | None = None) -> Table:
    """Place all units that are not fixed; where rules cannot be kept, as little as possible is broken.

    Parameters
    ----------
    floor
        Least starts (step → tick). Given those of a plan, that plan comes out again, shifted as far as it has to be,
        and many times faster: nothing has to be raised because of what must follow it.
    """
    units = [unit.index for unit in table.units if unit.pinned is None]
    ranks = {index: rank(table.units[index].steps[0]) for index in units}
    units.sort(key=lambda index: ranks[index])
    least = _floors(table, units, floor or {})
    if table.place(units, floor=least) is not None and table.place(units, elastic=True, floor=least) is not None:
        _by_job(table, units, ranks)
    return table


def _floors(table: MaskingTable, units: Iterable[int], floor: Mapping[str, int]) -> dict[int, int]:
    found = {}
    for unit in map(table.units.__getitem__, units):
        if unit.steps[0] in floor:
            found[unit.index] = floor[unit.steps[0]] - unit.variants[0].offsets[0]
    return found


def strictly(table: MaskingTable, rank: Rank) -> bool:
    """Place all units that are not fixed; return whether all rules could be kept. If not, none of them is placed."""
    units = [unit.index for unit in table.units if unit.pinned is None]
    units.sort(key=lambda index: rank(table.units[index].steps[0]))
    return table.place(units) is None


def settled(problem: Problem, plan: Plan) -> Plan:
    """Return a plan that breaks no more rules than it must, with its steps in the order of the given one."""
    if all(step.id in plan.starts for step in problem.steps()) and not hard_violations(problem, plan):
        return plan
    last = max(plan.starts.values(), default=problem.now) + 1
    table = fill(MaskingTable(problem), lambda step: (plan.starts.get(step, last),), plan.starts)
    return Plan(*table.spans(), version=plan.version)


def _by_job(table: MaskingTable, units: list[int], ranks: dict[int, tuple[float, ...]]) -> None:
    by_job: dict[str, list[int]] = {}
    for index in units:
        by_job.setdefault(table.units[index].job, []).append(index)
    for job in sorted(by_job, key=lambda name: ranks[by_job[name][0]]):
        if table.place(by_job[job]) is None or table.place(by_job[job], elastic=True) is None:
            continue
        refused = [refusal for index in by_job[job] if (refusal := table.place([index], elastic=True)) is not None]
        if refused:
            log.warning("steps have no place in the plan yet", job=job, reason=say_refusal(table, refused[0]))
