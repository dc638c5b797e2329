"""Projects: PSPLIB's ``.sm`` and ``.mm`` files, and RCPSP/max ``.sch`` files of ProGen/max."""

from __future__ import annotations

import re
from pathlib import Path

from scheduler.planning.problem import Demand, Job, Lag, Mode, Problem, Resource, Step, Stock, Task


def _project(
    path: Path, steps: list[Step], lags: list[Lag], resources: list[Resource], stocks: tuple[Stock, ...] = ()
) -> Problem:
    tasks = tuple(Task(step.id, (step,)) for step in steps)
    return Problem((Job("project", tasks, tuple(lags)),), (), tuple(resources), stocks, name=path.stem)


def read_psplib(path: Path) -> Problem:
    """Read a PSPLIB project with renewable resources, one or several modes per activity.

    Raises
    ------
    ValueError
        If the project has nonrenewable resources, whose total depends on the modes: the model has no such
        rule.
    """
    text = path.read_text(encoding="latin-1")
    sections = {}
    for title in ("PRECEDENCE RELATIONS", "REQUESTS/DURATIONS", "RESOURCEAVAILABILITIES"):
        after = text.split(f"{title}:", 1)
        if len(after) < 2:
            raise ValueError(f"section {title} is missing")
        body = re.split(r"^\*+", after[1], maxsplit=1, flags=re.MULTILINE)[0]
        sections[title] = [line.split() for line in body.splitlines() if line.strip()]
    renewable = int(re.search(r"- renewable\s*:\s*(\d+)", text).group(1))  # type: ignore[union-attr]
    nonrenewable = re.search(r"- nonrenewable\s*:\s*(\d+)", text)
    if nonrenewable and int(nonrenewable.group(1)):
        raise ValueError("nonrenewable resources are not supported")
    capacities = [int(word) for word in sections["RESOURCEAVAILABILITIES"][-1]][:renewable]
    modes: dict[int, list[Mode]] = {}
    activity = 0
    for row in sections["REQUESTS/DURATIONS"]:
        if not all(re.fullmatch(r"-?\d+", word) for word in row):
            continue
        numbers = [int(word) for word in row]
        if len(numbers) == renewable + 3:
            activity, numbers = numbers[0], numbers[1:]
        _, duration, *needs = numbers
        demands = tuple(Demand(f"R{k + 1}", need) for k, need in enumerate(needs[:renewable]) if need)
        modes.setdefault(activity, []).append(Mode(duration, demands=demands))
    lags: list[Lag] = []
    for row in sections["PRECEDENCE RELATIONS"]:
        if row[0].isdigit():
            lags.extend(Lag(str(int(row[0]) - 1), str(int(after) - 1)) for after in row[3:])
    steps = [Step(str(number - 1), tuple(modes[number])) for number in sorted(modes)]
    resources = [Resource(f"R{k + 1}", capacity) for k, capacity in enumerate(capacities)]
    return _project(path, steps, lags, resources)


def read_rcpsp_max(path: Path) -> Problem:
    """Read an RCPSP/max project: start-to-start lags in brackets, negative ones are maximum lags back."""
    rows = [line.split() for line in path.read_text(encoding="latin-1").splitlines() if line.strip()]
    count, resources = int(rows[0][0]) + 2, int(rows[0][1])
    lags = []
    for row in rows[1 : count + 1]:
        activity, successors = row[0], int(row[2])
        names = row[3 : 3 + successors]
        values = [int(word) for word in re.findall(r"\[\s*(-?\d+)\s*\]", " ".join(row[3 + successors :]))]
        for name, value in zip(names, values, strict=True):
            if value < 0:
                # start(name) >= start(activity) + value: the activity starts at most -value after `name`.
                lags.append(Lag(name, activity, "start", "start", None, -value))
            else:
                lags.append(Lag(activity, name, "start", "start", value))
    steps = []
    for row in rows[count + 1 : 2 * count + 1]:
        numbers = [int(word) for word in row]
        demands = tuple(Demand(f"R{k + 1}", need) for k, need in enumerate(numbers[3 : 3 + resources]) if need)
        steps.append(Step(str(numbers[0]), (Mode(numbers[2], demands=demands),)))
    capacities = [int(word) for word in rows[2 * count + 1]]
    kinds = [Resource(f"R{k + 1}", capacity) for k, capacity in enumerate(capacities[:resources])]
    return _project(path, steps, lags, kinds)
