"""Results and arrays as tables: CSV with the unit in every heading."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from .arrays import Slice
from .results import Column, JobResults, Run

Cell = Any
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class NotATableError(ValueError):
    """The array has too many dimensions for a table."""


def result_table(results: JobResults) -> str:
    """Return one row per sample: its parameters, then each value that counts, in columns ``task.name (unit)``."""
    rows = [(sample, [run for run in results.of(sample) if run.counts]) for sample in results.samples]
    parameters = list(dict.fromkeys(name for sample, _ in rows for name in sample.parameters))
    analyses = [run for run in results.analyses if run.counts]
    columns: dict[Column, str] = {}
    uncertain = {key for run in results.analyses for key in _columns(run)}
    for group, name, unit in results.columns():
        for key in ((group, name, unit), (group, f"{name}_uncertainty", unit)):
            if key[1] == name or key in uncertain:
                columns[key] = _heading(f"{group}.{key[1]}", unit)
    table = [["job_id", "simulated", "sample_id", "sample", "state", *parameters, *columns.values(), "error"]]
    for sample, runs in rows:
        own = [*runs, *(run for run in analyses if run.sample and run.sample.pk == sample.pk)]
        values = {key: value for run in own for key, value in _columns(run).items()}
        table.append(
            [
                *(str(results.job.pk), results.job.simulated, str(sample.pk), sample.name, sample.state),
                *(_text(sample.parameters.get(name, "")) for name in parameters),
                *(values.get(key, "") for key in columns),
                sample.reason or "; ".join(str(run.document["error"]) for run in own if run.document.get("error")),
            ]
        )
    return as_csv(table)


def array_table(part: Slice) -> str:
    """Return an array of at most two dimensions: axis and values side by side, one row per point.

    Raises
    ------
    NotATableError
        If it has more dimensions.
    """
    import numpy as np

    if part.values.ndim > 2:
        raise NotATableError(f"{part.name} has {part.values.ndim} dimensions: take JSON or the file")
    axes = list(part.axes.items())
    heading = _heading(part.name, part.unit)
    values = np.atleast_1d(part.values)
    first = [(_heading(name, unit), points) for name, (points, unit) in axes[:1]]
    if values.ndim == 2:
        name, (points, unit) = axes[1] if len(axes) > 1 else ("index", (np.arange(values.shape[1]), ""))
        headings = [f"{heading} at {name} {_number(point)}{f' {unit}' if unit else ''}" for point in points]
    else:
        headings, values = [heading], values[:, np.newaxis]
    leading = np.arange(part.start, part.start + part.step * len(values), part.step)
    label, column = first[0] if first else ("index", leading)
    body = ([_number(x), *map(_number, row)] for x, row in zip(column, values, strict=True))
    return as_csv([[label, *headings], *body])


def _columns(run: Run) -> dict[Column, Cell]:
    columns: dict[Column, Cell] = {}
    for name, entry in run.values.items():
        unit = str(entry.get("unit") or "")
        columns[run.group, name, unit] = _number(entry.get("value"))
        if "uncertainty" in entry:
            columns[run.group, f"{name}_uncertainty", unit] = _number(entry["uncertainty"])
    return columns


def _heading(name: str, unit: str) -> str:
    return f"{name} ({unit})" if unit else name


def _number(value: Any) -> Cell:
    value = value.item() if hasattr(value, "item") else value
    return repr(value) if isinstance(value, float) else value


def _text(value: Any) -> Cell:
    match value:
        case {"value": number, "unit": unit, **rest} if not rest:
            return f"{number} {unit}".strip()
        case float():
            return repr(value)
    return value


def as_csv(rows: Iterable[Sequence[Cell]]) -> str:
    """Write a table as CSV that a spreadsheet takes for nothing but text and numbers."""
    buffer = io.StringIO()
    csv.writer(buffer).writerows([_safe(cell) for cell in row] for row in rows)
    return buffer.getvalue()


def _safe(cell: Cell) -> Cell:
    """Keep a spreadsheet from taking a user's text for a formula."""
    if isinstance(cell, str) and cell.startswith(_FORMULA) and not _is_number(cell):
        return f"'{cell}"
    return cell


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
