"""Parameters of a job or its samples that nothing refers to: most often a name that was misspelt."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .problems import Path, Problem, Problems, pointer

_NAME = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_NEAR = 0.8
"""How alike two names must be for one to be a misspelling of the other."""


def warnings_of(spec: Mapping[str, Any]) -> list[Problem]:
    """Return a warning for each parameter that nothing refers to; ``spec`` is a document as plain data."""
    return [
        Problem(
            pointer(path),
            f"Nothing uses `{name}`; it is kept with the job, and changes nothing that is done. Write `${name}` in the "
            f"`with` of a task, or leave it out.",
        )
        for name, path in _unused(spec).items()
    ]


def refuse_misspelt(spec: Mapping[str, Any], taken: Iterable[str], problems: Problems) -> None:
    """Note each parameter that nothing refers to, and whose name is that of something else, or nearly.

    Parameters
    ----------
    taken
        Names of the parameters that the workflow's tasks take.
    """
    tasks = list(taken)
    for name, path in _unused(spec).items():
        if (meant := _near(name, _referred(spec))) is not None:
            problems.add(
                path, f"Nothing uses `{name}`, but the workflow refers to `${meant}`. Did you mean that? Use one name."
            )
        elif (meant := _near(name, tasks)) is not None:
            problems.add(
                path,
                f"Nothing uses `{name}`. If it is meant for the parameter `{meant}` of a task, write "
                f"`{meant}: ${name}` in the task's `with`.",
            )


def _unused(spec: Mapping[str, Any]) -> dict[str, Path]:
    """Return each name that nothing refers to, and where it stands first."""
    given = dict(reversed([*_given(spec)]))
    if not given:
        return {}
    referred = _referred(spec)
    return {name: path for name, path in reversed(given.items()) if name not in referred}


def _given(spec: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    for name in spec.get("parameters", {}):
        yield name, ("parameters", name)
    samples = spec.get("samples")
    if isinstance(samples, Mapping):
        for name in samples["sweep"]:
            yield name, ("samples", "sweep", name)
    elif isinstance(samples, list):
        for index, sample in enumerate(samples):
            for name in sample.get("with", {}):
                yield name, ("samples", index, "with", name)


def _referred(spec: Mapping[str, Any]) -> set[str]:
    """Return the names that stand behind a dollar anywhere a value may stand."""
    found: set[str] = set()
    waiting: list[Any] = [
        [entry.get("with") for entry in spec["workflow"]],
        spec.get("parameters"),
        spec.get("samples"),
    ]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            if match := _NAME.match(value):
                found.add(match[1])
        elif isinstance(value, Mapping):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return found


def _near(name: str, names: Iterable[str]) -> str | None:
    lowered = {other.lower(): other for other in names}
    near = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=_NEAR)
    return lowered[near[0]] if near else None
