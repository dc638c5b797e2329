"""What a benchmark is told, and the table it gives back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import track
from rich.table import Table as RichTable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Settings:
    """What to measure with.

    Attributes
    ----------
    data
        Folder with public data.
    cpu
        CPU seconds for each planning call.
    policy
        Which one is measured.
    seeds
        How many seeds of random loads.
    count
        How many problems whose improver is killed.
    console
        Where to print.
    """

    data: Path | None
    cpu: float
    policy: str
    seeds: int
    count: int
    console: Console

    def folder(self) -> Path:
        """Return the data folder.

        Raises
        ------
        FileNotFoundError
            If none was given.
        """
        if self.data is None:
            raise FileNotFoundError("this suite needs --data, the folder with the published benchmarks")
        return self.data

    def each(self, items: Iterable[T], what: str) -> Iterator[T]:
        """Go through `items` with a progress bar on the error stream."""
        rows = list(items)
        yield from track(rows, what, console=Console(stderr=True), transient=True)


@dataclass(slots=True)
class Table:
    """Rows of results under column names, with notes below."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *row: Any) -> None:
        """Add a row."""
        self.rows.append(row)

    def data(self) -> dict[str, Any]:
        """Return everything as plain data."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        return {"title": self.title, "rows": rows, "notes": self.notes}

    def show(self, console: Console) -> None:
        """Print the table."""
        table = RichTable(title=self.title)
        for column in self.columns:
            table.add_column(column, justify="right")
        for row in self.rows:
            table.add_row(*(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row))
        console.print(table)
        for note in self.notes:
            console.print(note)
