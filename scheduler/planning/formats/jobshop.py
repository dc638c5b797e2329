"""Job shops and flexible job shops in their classic text formats.

A job has a line of its own; where lines are wrapped, all numbers are read as one stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scheduler.planning.formats.text import count, need, read_lines
from scheduler.planning.problem import Device, Job, Mode, Problem, Step, Task, Use

Operation = list[tuple[int, int]]
"""(machine, duration) of each alternative."""


@dataclass(slots=True)
class _Numbers:
    """The numbers of a job, read one after the other."""

    line: int
    values: list[int]
    at: int = 0

    @property
    def left(self) -> int:
        return len(self.values) - self.at

    def next(self, what: str) -> int:
        if not self.left:
            raise ValueError(f"line {self.line} ends where {what} is expected")
        self.at += 1
        return self.values[self.at - 1]


def read_jsp(path: Path) -> Problem:
    """Read a job shop: ``jobs machines``, then per job pairs ``machine duration``.

    Machines count from 0; see `read_fjsp` for files in which they count from 1.
    """
    jobs, machines, rows = _read(path)
    width = 2 * machines
    if len(rows) != jobs and width and sum(row.left for row in rows) == width * jobs:
        stream = _joined(rows)
        rows = [_Numbers(stream.line, stream.values[n * width : (n + 1) * width]) for n in range(jobs)]
    if len(rows) != jobs:
        raise ValueError(f"{jobs} jobs are announced, {len(rows)} lines follow")
    return _problem(path, machines, [_pairs(row) for row in rows])


def read_fjsp(path: Path) -> Problem:
    """Read a flexible job shop: per job the number of operations, per operation that of its alternatives, then
    ``machine duration`` for each.

    Machines count from 0; a file in which they count from 1 (the older convention) is recognised by the
    number of machines occurring as a name.
    """
    jobs, machines, rows = _read(path)
    if len(rows) != jobs:
        rows = [_joined(rows)] * jobs
    chains = [_operations(row) for row in rows]
    for row in rows:
        if row.left:
            raise ValueError(f"line {row.line}: {row.left} numbers more than {jobs} jobs need")
    return _problem(path, machines, chains)


def _read(path: Path) -> tuple[int, int, list[_Numbers]]:
    """Return the numbers of jobs and machines, and the numbers in each line after them."""
    lines = read_lines(path)
    if not lines:
        raise ValueError("the file is empty; its first line should say how many jobs and machines there are")
    first, *rest = lines
    words = need(first, 2, "the numbers of jobs and machines")
    jobs, machines = count(words[0], first.number, "jobs"), count(words[1], first.number, "machines")
    return jobs, machines, [_Numbers(line.number, line.wholes) for line in rest]


def _joined(rows: list[_Numbers]) -> _Numbers:
    """Return all lines as one: they are wrapped somewhere."""
    return _Numbers(rows[-1].line if rows else 1, [value for row in rows for value in row.values])


def _pairs(row: _Numbers) -> list[Operation]:
    operations = []
    while row.left:
        machine = row.next("a machine")
        operations.append([(machine, row.next(f"the duration on machine {machine}"))])
    return operations


def _operations(row: _Numbers) -> list[Operation]:
    operations = []
    total = row.next("the number of operations")
    if total < 0:
        raise ValueError(f"line {row.line}: a job has {total} operations")
    for number in range(total):
        alternatives = row.next("the number of alternatives")
        if alternatives < 1:
            raise ValueError(f"line {row.line}: operation {number + 1} has {alternatives} alternatives")
        operations.append([(row.next("a machine"), row.next("a duration")) for _ in range(alternatives)])
    return operations


def _problem(path: Path, machines: int, chains: list[list[Operation]]) -> Problem:
    names = {machine for chain in chains for operation in chain for machine, _ in operation}
    base = 1 if machines in names and 0 not in names else 0
    for machine in sorted(names):
        if not base <= machine < machines + base:
            raise ValueError(f"machine {machine} does not exist: there are {machines}")
    jobs, number = [], 0
    for n, chain in enumerate(chains):
        steps = []
        for operation in chain:
            modes = tuple(Mode(duration, (Use(f"m{machine - base}"),)) for machine, duration in operation)
            steps.append(Step(str(number), modes))
            number += 1
        jobs.append(Job(f"j{n}", (Task(f"j{n}", tuple(steps)),)))
    return Problem(tuple(jobs), tuple(Device(f"m{n}") for n in range(machines)), name=path.stem)
