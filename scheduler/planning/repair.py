"""Stable repair: bring a plan back in line with what happened, moving as little as possible.

Jobs under way come first, because their windows are open: they are placed as early as they can be without
moving what still stands, in the order that breaks least. Then every other job that still fits stays exactly
where it was. Only what is left is inserted again, no earlier than it was planned if that is possible.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from scheduler.planning.editable import EditableTable
from scheduler.planning.plan import Plan
from scheduler.planning.problem import Problem
from scheduler.planning.table import UNPLACED, MaskingTable, say_refusal

MOST_TRIES = 10


def repair(
    problem: Problem,
    plan: Plan,
    *,
    ahead: str = "",
    table: EditableTable | None = None,
    tries: int = MOST_TRIES,
) -> tuple[EditableTable, dict[str, str]]:
    """Rebuild the table of a problem around an old plan.

    Parameters
    ----------
    problem
        With everything fixed that has started.
    plan
        The plan in force; it may lack steps, and name steps that are gone.
    ahead
        A job that goes before all others that have not begun.
    table
        One of the problem that holds nothing but what is fixed; made if it is not given.
    tries
        How many ways are tried.

    Returns
    -------
    table
        With every job placed that has a place.
    unplaced
        Why others have none, by job.
    """
    table = table or EditableTable(problem)
    wanted = wishes(table, plan)
    begun = {table.units[table.unit_of[fixed.step]].job for fixed in problem.fixed}
    when = {
        job: min((wanted[index][0] for index in units if index in wanted), default=1 << 60)
        for job, units in table.job_units.items()
    }
    first = sorted((job.id for job in problem.jobs if job.id in begun), key=lambda job: when[job])
    rest = sorted((job.id for job in problem.jobs if job.id not in begun), key=lambda job: when[job])
    unplaced = _settle(table, first, wanted, tries)
    if ahead in rest:
        rest.remove(ahead)
        reason = replace(table, ahead, {})
        if reason:
            unplaced[ahead] = reason
    unplaced.update(_settle(table, rest, wanted, tries))
    return table, unplaced


def wishes(table: MaskingTable, plan: Plan, units: Iterable[int] | None = None) -> dict[int, tuple[int, int]]:
    """Return planned start and variant of every free unit (or of some) whose steps are all planned."""
    wanted = {}
    for unit in table.units if units is None else map(table.units.__getitem__, units):
        if unit.pinned is not None or not unit.steps or any(name not in plan.starts for name in unit.steps):
            continue
        modes = tuple(plan.modes.get(name, 0) for name in unit.steps)
        for number, variant in enumerate(unit.variants):
            if variant.modes == modes:
                wanted[unit.index] = (plan.starts[unit.steps[0]] - variant.offsets[0], number)
                break
    return wanted


def keep(table: MaskingTable, units: Sequence[int], wanted: Mapping[int, tuple[int, int]]) -> bool:
    """Seat units exactly where they were planned, all or none."""
    seated: list[int] = []
    for index in units:
        place = wanted.get(index)
        if place is None or not table.seat_exactly(index, *place):
            for other in reversed(seated):
                table.unseat(other)
            return False
        seated.append(index)
    return True


def replace(table: MaskingTable, job: str, wanted: Mapping[int, tuple[int, int]]) -> str:
    """Place a job near where it was planned; return why it has no place, or nothing."""
    units = table.job_units[job]
    floor = {index: wanted[index][0] for index in units if index in wanted}
    refusal = table.place(units, floor=floor)
    if refusal is not None:
        refusal = table.place(units)
    if refusal is not None:
        refusal = table.place(units, elastic=True)
    return say_refusal(table, refusal) if refusal is not None else ""


def _settle(table: MaskingTable, jobs: list[str], wanted: Mapping[int, tuple[int, int]], tries: int) -> dict[str, str]:
    """Place jobs by the least harmful of a few ways: rules broken first, then how much later jobs finish.

    One way keeps whatever still fits and finds new places for the others; another shifts everything in its
    old order. A job whose rules would be broken is placed before the others in the next try.
    """
    base = table.snapshot()
    urgent: list[str] = []
    best: tuple[list[str], bool] = ([], False)
    best_cost: tuple[int, int, int] | None = None
    for turn in range(tries):
        in_order = turn % 2 == 1
        reasons, harm = _try(table, jobs, urgent, wanted, in_order=in_order)
        cost = (len(reasons), sum(harm.values()), _delay(table, jobs, wanted))
        if best_cost is None or cost < best_cost:
            best, best_cost = (urgent, in_order), cost
        if cost == (0, 0, 0) or (turn == tries - 1 and best == (urgent, in_order)):
            return reasons
        table.restore(base)
        if in_order:
            if best_cost[:2] == (0, 0):
                break
            worst = next(iter(reasons), None) or max(harm, key=lambda job: harm[job], default="")
            following = [worst, *(job for job in urgent if job != worst)] if worst else urgent
            if following == urgent:
                break
            urgent = following
    table.restore(base)
    return _try(table, jobs, best[0], wanted, in_order=best[1])[0]


def _delay(table: MaskingTable, jobs: list[str], wanted: Mapping[int, tuple[int, int]]) -> int:
    """Return how much later than planned jobs finish, squared: no single one pays for the rest."""
    total = 0
    for job in jobs:
        units = [index for index in table.job_units[job] if index in wanted]
        if units:
            planned = max(wanted[index][0] + table.units[index].variants[wanted[index][1]].span for index in units)
            total += table.jobs[job].weight * max(0, table.job_span(job)[1] - planned) ** 2
    return total


def _try(
    table: MaskingTable,
    jobs: list[str],
    urgent: list[str],
    wanted: Mapping[int, tuple[int, int]],
    *,
    in_order: bool,
) -> tuple[dict[str, str], dict[str, int]]:
    """Place all jobs; return who has no place and whose rules are broken by how much."""
    reasons: dict[str, str] = {}
    harm: dict[str, int] = {}

    def put(job: str) -> None:
        before = table.forced
        reason = replace(table, job, wanted)
        if reason:
            reasons[job] = reason
        bad = broken(table, table.job_units[job]) + 1000 * (table.forced - before)
        if bad:
            harm[job] = bad

    others = [job for job in jobs if job not in urgent]
    for job in (*urgent, *others) if in_order else urgent:
        if not keep(table, table.job_units[job], wanted):
            put(job)
    if not in_order:
        for job in [job for job in others if not keep(table, table.job_units[job], wanted)]:
            put(job)
    # What waits for a hold of a later job to close has its chance when that one is placed.
    failed: set[str] = set()
    while reasons and set(reasons) != failed:
        failed = set(reasons)
        for job in sorted(failed, key=jobs.index):
            del reasons[job]
            put(job)
    return reasons, harm


def broken(table: MaskingTable, units: Sequence[int]) -> int:
    """Return by how many ticks maximum lags (hard and soft) and deadlines are exceeded in all."""
    total = 0
    for index in units:
        at = table.start[index]
        if at == UNPLACED:
            continue
        for other, away, _ in table.units[index].hi:
            before = table.start[other]
            if before != UNPLACED:
                total += max(0, at - before - away[table.chosen[other]][table.chosen[index]])
        unit = table.units[index]
        if unit.deadline is not None:
            total += max(0, at + unit.variants[table.chosen[index]].span - unit.deadline)
    return total
