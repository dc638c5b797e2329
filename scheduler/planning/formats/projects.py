"""Projects: PSPLIB's ``.sm`` and ``.mm`` files, and RCPSP/max ``.sch`` files of ProGen/max."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from scheduler.planning.formats.text import Line, count, lines_of, need, read_lines, read_text, whole
from scheduler.planning.problem import Demand, Job, Lag, Mode, Problem, Resource, Step, Task

SECTIONS = ("PRECEDENCE RELATIONS", "REQUESTS/DURATIONS", "RESOURCEAVAILABILITIES")


def _project(path: Path, steps: list[Step], lags: list[Lag], capacities: Sequence[int]) -> Problem:
    tasks = tuple(Task(step.id, (step,)) for step in steps)
    resources = tuple(Resource(f"R{k + 1}", capacity) for k, capacity in enumerate(capacities))
    return Problem((Job("project", tasks, tuple(lags)),), (), resources, name=path.stem)


def _demands(needs: Iterable[int]) -> tuple[Demand, ...]:
    return tuple(Demand(f"R{k + 1}", quantity) for k, quantity in enumerate(needs) if quantity)


def read_psplib(path: Path) -> Problem:
    """Read a PSPLIB project with renewable resources, one or several modes per activity.

    Raises
    ------
    ValueError
        If the file is not one, or the project has resources that are not renewable: how much of them is used
        up depends on the modes, and the model has no such rule.
    """
    text = read_text(path)
    sections = {title: _section(text, title) for title in SECTIONS}
    renewable = _announced(text, "renewable")
    for kind in ("nonrenewable", "doubly constrained"):
        if _announced(text, kind, 0):
            raise ValueError(f"{kind} resources are not supported, only renewable ones are")
    modes = _modes(sections["REQUESTS/DURATIONS"], renewable)
    lags = _precedences(sections["PRECEDENCE RELATIONS"], modes)
    steps = [Step(str(number - 1), tuple(modes[number])) for number in sorted(modes)]
    return _project(path, steps, lags, _capacities(sections["RESOURCEAVAILABILITIES"], renewable))


def _section(text: str, title: str) -> list[Line]:
    """Return the lines below a title, down to the next row of stars."""
    before, found, after = text.partition(f"{title}:")
    if not found:
        raise ValueError(f"section {title} is missing")
    body = re.split(r"^\*+", after, maxsplit=1, flags=re.MULTILINE)[0]
    return list(lines_of(body, len(before.splitlines())))


def _announced(text: str, kind: str, default: int | None = None) -> int:
    found = re.search(rf"-\s*{kind}\s*:\s*(\d{{1,6}})", text)
    if found is None and default is None:
        raise ValueError(f"the line that says how many {kind} resources there are is missing")
    return int(found.group(1)) if found is not None else default or 0


def _numeric(lines: Iterable[Line]) -> Iterable[Line]:
    """Yield lines that begin with a number: not headings and rules."""
    return (line for line in lines if re.fullmatch(r"[+-]?\d+", line.words[0]))


def _modes(lines: list[Line], renewable: int) -> dict[int, list[Mode]]:
    """Return the modes by activity; lines of further modes leave the activity out."""
    modes: dict[int, list[Mode]] = {}
    activity = None
    for line in _numeric(lines):
        numbers = line.wholes
        if len(numbers) == renewable + 3:
            activity, numbers = numbers[0], numbers[1:]
            if activity in modes:
                raise ValueError(f"line {line.number}: activity {activity} occurs twice")
        if activity is None or len(numbers) != renewable + 2:
            raise ValueError(
                f"line {line.number}: activity, mode, duration and {renewable} requests expected, "
                f"{len(line.words)} numbers found"
            )
        modes.setdefault(activity, []).append(Mode(numbers[1], demands=_demands(numbers[2:])))
    if not modes:
        raise ValueError("section REQUESTS/DURATIONS has no activities")
    return modes


def _precedences(lines: list[Line], modes: dict[int, list[Mode]]) -> list[Lag]:
    lags: list[Lag] = []
    for line in _numeric(lines):
        need(line, 3, "activity, modes and number of successors")
        activity, variants, successors, *after = line.wholes
        if len(after) != successors:
            raise ValueError(f"line {line.number}: {successors} successors announced, {len(after)} found")
        for other in (activity, *after):
            if other not in modes:
                raise ValueError(f"line {line.number}: activity {other} has no requests and durations")
        if variants != len(modes[activity]):
            raise ValueError(
                f"line {line.number}: activity {activity} is said to have {variants} modes, "
                f"{len(modes[activity])} are there"
            )
        lags.extend(Lag(str(activity - 1), str(other - 1)) for other in after)
    return lags


def _capacities(lines: list[Line], renewable: int) -> list[int]:
    rows = list(_numeric(lines))
    if renewable and (not rows or len(rows[-1].words) < renewable):
        raise ValueError(f"section RESOURCEAVAILABILITIES does not name {renewable} capacities")
    return rows[-1].wholes[:renewable] if rows else []


def read_rcpsp_max(path: Path) -> Problem:
    """Read an RCPSP/max project: start-to-start lags in brackets, negative ones are maximum lags back.

    The first line says how many activities there are besides source and sink, and how many resources; then
    come the activities' successors and lags, their durations and requests, and the capacities.
    """
    lines = read_lines(path)
    if not lines:
        raise ValueError("the file is empty; its first line should say how many activities and resources there are")
    first = lines[0]
    words = need(first, 2, "the numbers of activities and resources")
    activities, resources = count(words[0], first.number, "activities") + 2, count(words[1], first.number, "resources")
    if len(lines) < 2 * activities + 1 + bool(resources):
        raise ValueError(f"{activities} activities are announced, but the file ends on line {lines[-1].number}")
    steps = [_activity(line, resources) for line in lines[activities + 1 : 2 * activities + 1]]
    known = {step.id for step in steps}
    lags = [lag for line in lines[1 : activities + 1] for lag in _lags(line, known)]
    capacities = lines[2 * activities + 1].wholes[:resources] if resources else []
    if len(capacities) < resources:
        raise ValueError(f"line {lines[2 * activities + 1].number}: {resources} capacities expected")
    return _project(path, steps, lags, capacities)


def _activity(line: Line, resources: int) -> Step:
    need(line, 3 + resources, f"activity, mode, duration and {resources} requests")
    number, _, duration, *needs = line.wholes
    return Step(str(number), (Mode(duration, demands=_demands(needs[:resources])),))


def _lags(line: Line, known: set[str]) -> list[Lag]:
    words = need(line, 3, "activity, modes and number of successors")
    activity, modes, successors = (whole(word, line.number) for word in words[:3])
    if modes != 1:
        raise ValueError(f"line {line.number}: activity {activity} has {modes} modes; only one is supported")
    names = [str(whole(word, line.number)) for word in words[3 : 3 + max(0, successors)]]
    values = re.findall(r"\[\s*([^\]\s]*)\s*\]", " ".join(words[3 + len(names) :]))
    if not len(names) == len(values) == successors:
        raise ValueError(f"line {line.number}: {successors} successors announced, {len(values)} lags in brackets found")
    lags = []
    for name, word in zip(names, values, strict=True):
        value = whole(word, line.number)
        for one in (name, str(activity)):
            if one not in known:
                raise ValueError(f"line {line.number}: activity {one} has no duration")
        if value < 0:
            # start(name) >= start(activity) + value: the activity starts at most -value after `name`.
            lags.append(Lag(name, str(activity), "start", "start", None, -value))
        else:
            lags.append(Lag(str(activity), name, "start", "start", value))
    return lags
