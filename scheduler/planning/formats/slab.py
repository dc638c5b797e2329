"""S-LAB: laboratory automation with time constraints by mutual boundaries (Itoh et al. 2021)."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from scheduler.planning.formats.text import read_text, whole
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

TABLES = {
    "machines": ("Machine_ID", "Machine_type", "Machine_name"),
    "operations": ("Job_ID", "Operation_ID", "Compatible_machine", "Processing_time"),
    "dependency": ("Job_ID", "Operation_ID_1", "Operation_ID_2"),
    "tcmb": ("Job_ID", "Operation_ID_1", "Point_1", "Operation_ID_2", "Point_2", "Time_constraint"),
}
"""The tables by name, each with the columns that have to be there."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of a table: its words by column, and where it stands."""

    table: str
    line: int
    words: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        word = self.words.get(column) or ""
        if not word:
            raise self.wrong(f"{column} is missing")
        return word

    def wrong(self, what: str) -> ValueError:
        return ValueError(f"{self.table}.tsv, line {self.line}: {what}")

    def number(self, column: str) -> int:
        try:
            return whole(self[column], self.line)
        except ValueError as error:
            raise ValueError(f"{self.table}.tsv, {error}") from error


def _table(folder: Path, name: str) -> list[_Row]:
    reader = csv.DictReader(io.StringIO(read_text(folder / f"{name}.tsv"), newline=None), delimiter="\t")
    missing = [column for column in TABLES[name] if column not in (reader.fieldnames or ())]
    if missing:
        raise ValueError(f"{name}.tsv has no column {missing[0]}")
    rows = []
    for row in reader:
        words = {key: value.strip() for key, value in row.items() if key and isinstance(value, str)}
        if any(words.values()) and not next(iter(words.values())).startswith("#"):
            rows.append(_Row(name, reader.line_num, words))
    return rows


def read_slab(path: Path) -> Problem:
    """Read a folder with ``machines``, ``operations``, ``dependency`` and ``tcmb`` tables.

    Machines of one type are alternatives. A `tcmb` row bounds the time between two boundaries from above.
    """
    machines: dict[str, list[str]] = {}
    for row in _table(path, "machines"):
        machines.setdefault(row["Machine_type"], []).append(f"{row['Machine_ID']} {row['Machine_name']}")
    tasks: dict[str, list[Task]] = {}
    names: dict[tuple[str, str], str] = {}
    for number, row in enumerate(_table(path, "operations")):
        job, operation, kind = row["Job_ID"], row["Operation_ID"], row["Compatible_machine"]
        if (job, operation) in names:
            raise row.wrong(f"operation {operation} of job {job} occurs twice")
        if kind not in machines:
            raise row.wrong(f"there is no machine of type {kind}")
        duration = row.number("Processing_time")
        modes = tuple(Mode(duration, (Use(name),)) for name in machines[kind])
        names[job, operation] = str(number)
        tasks.setdefault(job, []).append(Task(str(number), (Step(str(number), modes),)))

    def step(row: _Row, column: str) -> str:
        name = names.get((row["Job_ID"], row[column]))
        if name is None:
            raise row.wrong(f"job {row['Job_ID']} has no operation {row[column]}")
        return name

    lags: dict[str, list[Lag]] = {job: [] for job in tasks}
    for row in _table(path, "dependency"):
        one, two = step(row, "Operation_ID_1"), step(row, "Operation_ID_2")
        lags[row["Job_ID"]].append(Lag(one, two))
    for row in _table(path, "tcmb"):
        one, two = step(row, "Operation_ID_1"), step(row, "Operation_ID_2")
        first, second = _point(row, "Point_1"), _point(row, "Point_2")
        lags[row["Job_ID"]].append(Lag(one, two, first, second, None, row.number("Time_constraint")))
    jobs = tuple(Job(job, tuple(parts), tuple(lags[job])) for job, parts in tasks.items())
    devices = tuple(Device(name) for group in machines.values() for name in group)
    return Problem(jobs, devices, name=path.name, tick=60.0)


def _point(row: _Row, column: str) -> Point:
    word = row[column].lower()
    if word not in ("start", "end"):
        raise row.wrong(f"{column} is {word!r}, neither start nor end")
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
