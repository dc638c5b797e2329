"""Job shops and flexible job shops in their classic text formats."""

from __future__ import annotations

from pathlib import Path

from scheduler.planning.problem import Device, Job, Mode, Problem, Step, Task, Use


def _numbers(path: Path) -> list[list[int]]:
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.split("#")[0].split()
        if words:
            rows.append([int(float(word)) for word in words])
    return rows


def _problem(path: Path, machines: int, chains: list[list[tuple[Mode, ...]]]) -> Problem:
    jobs, count = [], 0
    for number, chain in enumerate(chains):
        steps = []
        for modes in chain:
            steps.append(Step(str(count), modes))
            count += 1
        jobs.append(Job(f"j{number}", (Task(f"j{number}", tuple(steps)),)))
    devices = tuple(Device(f"m{machine}") for machine in range(machines))
    return Problem(tuple(jobs), devices, name=path.stem)


def read_jsp(path: Path) -> Problem:
    """Read a job shop: ``jobs machines``, then per job pairs ``machine duration`` with machines from 0."""
    (jobs, machines, *_), *rows = _numbers(path)
    chains: list[list[tuple[Mode, ...]]] = []
    for row in rows[:jobs]:
        pairs = zip(row[::2], row[1::2], strict=True)
        chains.append([(Mode(duration, (Use(f"m{machine}"),)),) for machine, duration in pairs])
    if len(chains) < jobs:
        raise ValueError(f"{jobs} jobs are announced, {len(chains)} are there")
    return _problem(path, machines, chains)


def read_fjsp(path: Path) -> Problem:
    """Read a flexible job shop: per operation the number of alternatives, then ``machine duration`` for each.

    Machines count from 0; a file in which they count from 1 (the older convention) is recognised by the
    number of machines occurring as a name.
    """
    (jobs, machines, *_), *rows = _numbers(path)
    chains: list[list[list[tuple[int, int]]]] = []
    for row in rows[:jobs]:
        numbers = iter(row)
        operations = next(numbers)
        chain = []
        for _ in range(operations):
            alternatives = next(numbers)
            chain.append([(next(numbers), next(numbers)) for _ in range(alternatives)])
        chains.append(chain)
    if len(chains) < jobs:
        raise ValueError(f"{jobs} jobs are announced, {len(chains)} are there")
    names = {machine for chain in chains for operation in chain for machine, _ in operation}
    base = 1 if machines in names and 0 not in names else 0
    return _problem(
        path,
        machines,
        [[tuple(Mode(time, (Use(f"m{machine - base}"),)) for machine, time in op) for op in chain] for chain in chains],
    )
