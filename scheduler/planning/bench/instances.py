"""Public instances against their best known values."""

from __future__ import annotations

import csv
import time
from pathlib import Path

from scheduler.planning.bench.report import Settings, Table
from scheduler.planning.bounds import lower_bound
from scheduler.planning.checker import check
from scheduler.planning.formats import read
from scheduler.planning.limits import Limits
from scheduler.planning.policies import make_plan
from scheduler.planning.workloads.generator import make_load

Row = tuple[str, Path, str, int]


def _rows(folder: Path) -> list[Row]:
    """Return (format, path, best known or ``infeasible``, copies) of all shops and projects."""
    rows: list[Row] = []
    for row in _csv(folder / "jsp"):
        rows.append(("jsp", folder / "jsp" / f"{row['instance']}.txt", row["ub"], 1))
    for row in _csv(folder / "fjsp"):
        rows.append(("fjsp", folder / "fjsp" / row["path"], row["ub"], 1))
    for form, name in (("psplib", "rcpsp"), ("rcpsp_max", "rcpsp_max")):
        for row in _csv(folder / name):
            rows.append((form, folder / name / row["set"] / row["instance"], row["ub"], 1))
    return rows


def _csv(folder: Path) -> list[dict[str, str]]:
    with (folder / "bks.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def instances(settings: Settings) -> Table:
    """Job shops, flexible job shops, RCPSP and RCPSP/max against best known makespans."""
    return _measure(settings, _rows(settings.folder() / "instances"), "public instances")


def slab(settings: Settings) -> Table:
    """S-LAB instances against the published annealing and the best known makespans."""
    folder = settings.folder() / "instances" / "slab"
    rows: list[Row] = []
    for row in _csv(folder):
        name, copies = row["instance"].split(" x")
        rows.append(("slab", folder / name, row["ub"], int(copies)))
    table = _measure(settings, rows, "S-LAB")
    table.notes.append("published by SAGAS: Gu2016 x5 386, qPCR x1 152")
    return table


def bounds(settings: Settings) -> Table:
    """Bounds against best known values of all public instances, and the gap that they leave at 50 jobs."""
    folder = settings.folder() / "instances"
    table = Table("bounds", ("set", "instances", "above the best known", "equal to it", "mean gap %"))
    sets: dict[str, list[tuple[int, int]]] = {}
    rows = [row for row in _rows(folder) if row[2].isdigit()]
    for form, path, best, copies in settings.each(rows, "bounds"):
        bound = lower_bound(read(path, form, copies), "makespan")
        sets.setdefault(form, []).append((bound, int(best)))
    for form, found in sets.items():
        above, equal = sum(b > best for b, best in found), sum(b == best for b, best in found)
        table.add(form, len(found), above, equal, 100 * sum(1 - b / best for b, best in found) / len(found))
    for seed in range(1, settings.seeds + 1):
        problem = make_load(50, seed)
        plan = make_plan(problem, "masking", limits=Limits(cpu=settings.cpu), seed=seed)
        above = int((plan.bound or 0) > plan.objective[2])
        table.add(f"{problem.name}, weighted flow", 1, above, 0, 100 * (plan.gap or 0.0))
    return table


def _measure(settings: Settings, rows: list[Row], title: str) -> Table:
    table = Table(
        f"{title}, {settings.policy}, {settings.cpu} CPU s each",
        ("instance", "steps", "greedy", "ours", "best known", "gap %", "bound", "verdict", "CPU s"),
    )
    gaps = []
    for form, path, best, copies in settings.each(rows, title):
        problem = read(path, form, copies)
        greedy = make_plan(problem, "masking", objective="makespan")
        begin = time.process_time()
        plan = make_plan(problem, settings.policy, objective="makespan", limits=Limits(cpu=settings.cpu))
        spent = time.process_time() - begin
        feasible = not plan.objective[0] and not check(problem, plan)
        gap: float | str = ""
        if feasible and best.isdigit():
            gap = 100 * (plan.makespan / int(best) - 1)
            gaps.append(gap)
        verdict = "wrong" if feasible and best == "infeasible" else "feasible" if feasible else plan.status
        if feasible and plan.bound is not None and best.isdigit() and plan.bound > int(best):
            verdict = "wrong bound"
        first = greedy.makespan if not greedy.objective[0] else "-"
        last = plan.makespan if feasible else "-"
        steps = sum(1 for _ in problem.steps())
        table.add(f"{form} {problem.name}", steps, first, last, best, gap, plan.bound, verdict, spent)
    if gaps:
        mean, worst = sum(gaps) / len(gaps), max(gaps)
        table.notes.append(f"mean gap {mean:.2f} %, worst {worst:.1f} %, over {len(gaps)}")
    return table
