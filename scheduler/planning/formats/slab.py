"""S-LAB: laboratory automation with time constraints by mutual boundaries (Itoh et al. 2021)."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

from scheduler.planning.problem import (
    Device,
    Hold,
    Job,
    Lag,
    Mode,
    Point,
    Problem,
    Setting,
    Step,
    Task,
    Use,
)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file, delimiter="\t") if any((v or "").strip() for v in row.values())]


def read_slab(path: Path) -> Problem:
    """Read a folder with ``machines``, ``operations``, ``dependency`` and ``tcmb`` tables.

    Machines of one type are alternatives. A `tcmb` row bounds the time between two boundaries from above.
    """
    machines: dict[str, list[str]] = {}
    for row in _rows(path / "machines.tsv"):
        machines.setdefault(row["Machine_type"], []).append(f"{row['Machine_ID']} {row['Machine_name']}")
    tasks: dict[str, list[Task]] = {}
    names: dict[tuple[str, str], str] = {}
    for count, row in enumerate(_rows(path / "operations.tsv")):
        job, operation = row["Job_ID"], row["Operation_ID"]
        duration = int(row["Processing_time"])
        modes = tuple(Mode(duration, (Use(name),)) for name in machines[row["Compatible_machine"]])
        names[job, operation] = str(count)
        tasks.setdefault(job, []).append(Task(str(count), (Step(str(count), modes),)))
    lags: dict[str, list[Lag]] = {job: [] for job in tasks}
    for row in _rows(path / "dependency.tsv"):
        job = row["Job_ID"]
        lags[job].append(Lag(names[job, row["Operation_ID_1"]], names[job, row["Operation_ID_2"]]))
    for row in _rows(path / "tcmb.tsv"):
        job, limit = row["Job_ID"], int(row["Time_constraint"])
        one, two = names[job, row["Operation_ID_1"]], names[job, row["Operation_ID_2"]]
        first, second = _point(row["Point_1"]), _point(row["Point_2"])
        lags[job].append(Lag(one, two, first, second, None, limit))
    jobs = tuple(Job(job, tuple(parts), tuple(lags[job])) for job, parts in tasks.items())
    devices = tuple(Device(name) for group in machines.values() for name in group)
    return Problem(jobs, devices, name=path.name, tick=60.0)


def _point(word: str) -> Point:
    if word not in ("start", "end"):
        raise ValueError(f"{word!r} is neither start nor end")
    return "start" if word == "start" else "end"


def multiply(problem: Problem, copies: int) -> Problem:
    """Return the problem with every job repeated; numbered steps are numbered on, others get ``/k``."""
    names = [step.id for step in problem.steps()]
    numbered = all(name == str(n) for n, name in enumerate(names))
    jobs = []
    for copy in range(copies):
        new = {
            name: (str(n + copy * len(names)) if numbered else f"{name}/{copy}") if copy else name
            for n, name in enumerate(names)
        }
        for job in problem.jobs:
            jobs.append(_rename(job, new, f"{job.id}/{copy}" if copy else job.id, copy))
    return replace(problem, jobs=tuple(jobs), name=f"{problem.name} x{copies}")


def _rename(job: Job, new: dict[str, str], name: str, copy: int) -> Job:
    def task_of(task: Task) -> Task:
        steps = tuple(replace(step, id=new[step.id]) for step in task.steps)
        return replace(task, id=f"{task.id}/{copy}" if copy else task.id, steps=steps)

    def lag_of(lag: Lag) -> Lag:
        return replace(lag, first=new[lag.first], second=new[lag.second])

    def hold_of(hold: Hold) -> Hold:
        return replace(hold, first=new[hold.first], last=new[hold.last])

    def setting_of(setting: Setting) -> Setting:
        return replace(setting, first=new[setting.first], last=new[setting.last])

    return replace(
        job,
        id=name,
        tasks=tuple(map(task_of, job.tasks)),
        lags=tuple(map(lag_of, job.lags)),
        holds=tuple(map(hold_of, job.holds)),
        settings=tuple(map(setting_of, job.settings)),
    )
