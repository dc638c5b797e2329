"""Fill a masking table with everything that is not fixed, in an order. Planner children do it too: no Django here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import structlog

from scheduler.planning.checker import hard_violations
from scheduler.planning.layout import UNPLACED
from scheduler.planning.plan import Plan
from scheduler.planning.problem import Problem
from scheduler.planning.table import MaskingTable, say_refusal
from scheduler.process.cycles import is_placeholder

log = structlog.get_logger("octolab.scheduler")

MOST_HASTY = 6
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


def fill_by_job(table: MaskingTable, jobs: Iterable[str], rank: Rank, head: Callable[[str], bool]) -> bool:
    """Place job after job, so that the whole of each finds its place before the next; return whether all found one.

    Parameters
    ----------
    jobs
        Ids, the first one first. One whose rules could not be kept goes before all others in another try.
    rank
        Of what is placed before all jobs, and behind them (placeholders).
    head
        Whether the unit with this first step is placed before all jobs, in the order of the ranks.
    """
    order, hasty = [job for job in jobs if job in table.job_units], list[str]()
    free = [unit for unit in table.units if unit.pinned is None and unit.steps]
    ranked = sorted(free, key=lambda unit: rank(unit.steps[0]))
    first = [unit.index for unit in ranked if not is_placeholder(unit.steps[0]) and head(unit.steps[0])]
    last = [unit.index for unit in ranked if is_placeholder(unit.steps[0])]
    apart = {*first, *last}
    own = {job: [index for index in table.job_units[job] if index not in apart and table.units[index].pinned is None]
           for job in order}  # fmt: skip
    if table.place(first) is not None and table.place(first, elastic=True) is not None:
        return False
    base = table.snapshot()
    for _ in range(MOST_HASTY):
        turns = [*hasty, *(job for job in order if job not in hasty)]
        refused = next((job for job in turns if table.place(own[job]) is not None), None)
        if refused is None:
            placed = table.place(last) is None or table.place(last, elastic=True) is None
            return placed and all(table.start[unit.index] != UNPLACED for unit in free)
        if refused in hasty:
            return False
        hasty.append(refused)
        table.restore(base)
    return False


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
