"""On which line of a TOML file something stands: its parser keeps no positions."""

from __future__ import annotations

import re
from collections.abc import Sequence

Path = tuple[str | int, ...]

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"""^\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")


class Lines:
    """The lines of a TOML file that was found to be well formed."""

    def __init__(self, text: str = "") -> None:
        self._lines: dict[Path, int] = {}
        counts: dict[Path, int] = {}
        table: Path = ()
        for number, line in enumerate(text.splitlines(), start=1):
            if header := _HEADER.match(line):
                table = self._latest(_parts(header[2]), counts)
                if header[1] == "[[":
                    counts[table] = counts.get(table, -1) + 1
                    table = (*table, counts[table])
                self._note(table, number)
            elif key := _KEY.match(line):
                self._note((*table, *_parts(key[1])), number)

    def of(self, location: Sequence[str | int]) -> int:
        """Return the line of what stands at a path, or of the nearest that is written around it."""
        return next(
            (self._lines[path] for n in range(len(location), 0, -1) if (path := tuple(location[:n])) in self._lines), 1
        )

    def _note(self, path: Path, number: int) -> None:
        for n in range(1, len(path) + 1):
            self._lines.setdefault(path[:n], number)

    @staticmethod
    def _latest(parts: Sequence[str], counts: dict[Path, int]) -> Path:
        """Return a header's path, in which each array of tables stands for its last table so far."""
        path: Path = ()
        for place, part in enumerate(parts, start=1):
            path = (*path, part)
            if path in counts and place < len(parts):
                path = (*path, counts[path])
        return path


def _parts(dotted: str) -> list[str]:
    return [part.strip("\"'") for part in _PART.findall(dotted)]
