"""Windows that a job's own tasks exclude, whatever the laboratory does: told with how long they must be."""

from __future__ import annotations

import math
from collections.abc import Mapping

from scheduler.generator import Expansion
from scheduler.generator.rows import StepRow
from scheduler.jobformat.model import JobDocument
from scheduler.jobformat.problems import Path, Problems, listed
from scheduler.process.references import has_reference

_ROUNDING_S = 1e-6


def check_windows(document: JobDocument, expansion: Expansion, problems: Problems) -> None:
    """Note each window that is shorter than what must be done between its ends.

    What is measured first is taken to last no time, so that nothing is refused that might be possible.
    """
    steps = {str(step.id): step for step in expansion.steps}
    least: dict[Path, tuple[float, float, str, list[str]]] = {}
    for step in expansion.steps:
        for need in step.needs:
            first = steps.get(str(need["step"]))
            if need["max_s"] is None or step.dormant or first is None or first.task.id == step.task.id:
                continue
            gap_s, between = _between(first, step, steps)
            path = _path(document, first, step)
            if gap_s > need["max_s"] + _ROUNDING_S and gap_s > least.get(path, (0.0,))[0]:
                least[path] = gap_s, need["max_s"], first.task.key, between
    for path, (gap_s, max_s, key, between) in least.items():
        what = f"{listed(between, last='and')} must be done between, which takes" if between else "that takes"
        problems.add(
            path,
            f"At most {written(max_s)} may pass after the end of `{key}`, but {what} at least {written(gap_s)} even in "
            f"an empty laboratory. Write {written(gap_s)} or more, or let the window count from a later task.",
        )


def _between(first: StepRow, last: StepRow, steps: Mapping[str, StepRow]) -> tuple[float, list[str]]:
    """Return the least time (lab seconds) from the end of one step to the start of another, and the tasks between."""
    found: dict[str, StepRow] = {}
    waiting = [last]
    while waiting:
        step = waiting.pop()
        for need in step.needs:
            before = steps.get(str(need["step"]))
            if before is not None and before.index > first.index and str(before.id) not in found:
                found[str(before.id)] = before
                waiting.append(before)
    ends_s = {str(first.id): 0.0}
    behind: list[str] = []
    for step in sorted(found.values(), key=lambda step: step.index):
        start_s = _start_s(step, ends_s)
        if start_s is not None:
            ends_s[str(step.id)] = start_s + (0.0 if has_reference(step.task.parameters) else step.duration_s)
            behind.append(step.task.key)
    others = [key for key in dict.fromkeys(behind) if key not in (first.task.key, last.task.key)]
    return _start_s(last, ends_s) or 0.0, others


def _start_s(step: StepRow, ends_s: Mapping[str, float]) -> float | None:
    """Return when a step may start at the earliest; None if it does not wait for the first one."""
    return max(
        (ends_s[before] + need["min_s"] for need in step.needs if (before := str(need["step"])) in ends_s), default=None
    )


def _path(document: JobDocument, first: StepRow, step: StepRow) -> Path:
    """Return where the window is written."""
    index = step.task.index
    if index >= len(document.workflow):
        return ("workflow",)
    within = document.workflow[index].within
    own = (first.task.key,) if isinstance(within, dict) and first.task.key in within else ()
    return ("workflow", index, "within", *own)


def written(time_s: float) -> str:
    """Return a time as one writes it in a job, never shorter than it is."""
    if time_s < 90:
        return f"{math.ceil(time_s - _ROUNDING_S)} s"
    return f"{math.ceil(time_s / 60 - _ROUNDING_S)} min"
