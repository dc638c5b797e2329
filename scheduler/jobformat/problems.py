"""What is wrong with a job: where exactly, and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MOST_PROBLEMS = 100
"""Problems that are reported at once; the rest is counted."""

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a job.

    Attributes
    ----------
    path
        JSON pointer (RFC 6901) into the document, empty for the whole of it.
    message
        A sentence that says what would be right.
    where
        The same place for people: ``workflow, task 5 (add_3), volume``.
    """

    path: str
    message: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class JobRefused(ValueError):  # noqa: N818 - reads as what happened
    """A job that cannot be accepted; ``problems`` has everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


class Problems:
    """Collects problems; the same sentence about the same place is kept once."""

    def __init__(self, task_keys: Sequence[str] = ()) -> None:
        self.task_keys = task_keys
        """Names of the workflow's tasks, for what people read."""
        self.noted = 0
        """Counts every problem, also those that were known already."""
        self._found: dict[tuple[str, str], Problem] = {}

    def add(self, path: Path, message: str) -> None:
        """Note a problem."""
        self.noted += 1
        where = pointer(path)
        self._found.setdefault((where, message), Problem(where, message, spoken(path, self.task_keys)))

    def __bool__(self) -> bool:
        return bool(self._found)

    @property
    def found(self) -> list[Problem]:
        """All problems in the order of their discovery, at most :data:`MOST_PROBLEMS` and a count of the rest."""
        problems = list(self._found.values())
        if len(problems) <= MOST_PROBLEMS:
            return problems
        rest = len(problems) - MOST_PROBLEMS
        return [*problems[:MOST_PROBLEMS], Problem("", f"There are {rest} more problems.")]

    def refuse(self) -> None:
        """Raise :class:`JobRefused` if anything was found."""
        if self._found:
            raise JobRefused(self.found)


def pointer(path: Path) -> str:
    """Return the JSON pointer of a path."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def spoken(path: Path, task_keys: Sequence[str] = ()) -> str:
    """Return a path as people say it, counting from one."""
    words: list[str] = []
    for index, part in enumerate(path):
        before = path[index - 1] if index else None
        if not isinstance(part, int):
            if part not in ("with", "sweep") or index == len(path) - 1:
                words.append(str(part))
        elif before == "workflow":
            key = task_keys[part] if part < len(task_keys) else ""
            words.append(f"task {part + 1}" + (f" ({key})" if key else ""))
        elif before == "samples":
            words.append(f"sample {part + 1}")
        else:
            words.append(f"item {part + 1}")
    return ", ".join(words)


def listed(names: Iterable[str], *, last: str = "or", most: int = 12) -> str:
    """Return names as ``a, b or c``, in backticks."""
    known = [f"`{name}`" for name in names]
    if len(known) > most:
        return ", ".join(known[:most]) + f" and {len(known) - most} more"
    return f" {last} ".join([", ".join(known[:-1]), known[-1]]) if len(known) > 1 else "".join(known)


def did_you_mean(word: str, names: Iterable[str], what: str = "It") -> str:
    """Return a sentence that suggests the nearest known name, or lists all of them."""
    known = list(names)
    near = difflib.get_close_matches(word.lower(), [name.lower() for name in known], n=1, cutoff=0.6)
    if near:
        return f"Did you mean `{next(name for name in known if name.lower() == near[0])}`?"
    if not known:
        return f"{what} has none."
    return f"{what} can be {listed(known)}."
