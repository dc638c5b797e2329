"""Lines of words and numbers, read from files that people and programs wrote, with errors that say where."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scheduler.planning.problem import LARGEST

MOST = 1_000_000
"""So many jobs, machines or activities are more than anybody plans."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is not empty, with its number in the file."""

    number: int
    words: tuple[str, ...]

    @property
    def wholes(self) -> list[int]:
        """All words as whole numbers."""
        return [whole(word, self.number) for word in self.words]


def read_text(path: Path) -> str:
    """Return a file's text, whatever its line ends, with or without a mark of its encoding."""
    data = path.read_bytes()
    if b"\0" in data:
        raise ValueError("this is not a text file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def read_lines(path: Path) -> list[Line]:
    """Return all lines with something on them, without comments (``#`` to the end of the line)."""
    return list(lines_of(read_text(path)))


def lines_of(text: str, first: int = 1) -> Iterator[Line]:
    """Yield the lines of a text, or of a part of it that begins on line `first`, that have something on them."""
    for number, line in enumerate(text.splitlines(), first):
        words = line.split("#")[0].split()
        if words:
            yield Line(number, tuple(words))


def whole(word: str, line: int) -> int:
    """Return a word as a whole number; ``3.0`` is one too."""
    plain = re.fullmatch(r"([+-]?\d{1,30})(\.0*)?", word)
    if plain is None:
        raise ValueError(f"line {line}: {word[:30]!r} is not a whole number")
    number = int(plain.group(1))
    if abs(number) > LARGEST:
        raise ValueError(f"line {line}: {number} is too large")
    return number


def count(word: str, line: int, what: str) -> int:
    """Return a word as a number of things: not negative, and not absurd."""
    number = whole(word, line)
    if number < 0:
        raise ValueError(f"line {line}: there cannot be {number} {what}")
    if number > MOST:
        raise ValueError(f"line {line}: {number} {what} are too many")
    return number


def need(line: Line, least: int, what: str) -> Sequence[str]:
    """Return a line's words, of which there have to be at least so many."""
    if len(line.words) < least:
        raise ValueError(f"line {line.number}: {what} expected, {' '.join(line.words)[:40]!r} found")
    return line.words
