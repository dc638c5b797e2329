"""A job's results: as a plain dict, as a table, and as numpy arrays when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

Values = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Table:
    """One row per sample; columns carry their unit."""

    columns: tuple[str, ...]
    """``sample``, ``state``, the sample's parameters, then ``task.value [unit]``."""
    rows: tuple[tuple[Any, ...], ...]

    def as_dicts(self) -> list[dict[str, Any]]:
        """Return each row as a dict by column, ready for a data frame of any library."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


@dataclass(frozen=True)
class Array:
    """An array with its axes."""

    name: str
    unit: str
    values: np.ndarray[Any, Any]
    axes: dict[str, tuple[np.ndarray[Any, Any], str]]
    """Name → (points, unit), in the order of the dimensions."""


class Results:
    """What a job measured.

    Attributes
    ----------
    document
        The server's answer as it is: ``samples``, each with ``runs``, each with ``values`` and ``arrays``.
    """

    def __init__(self, document: dict[str, Any], fetch: Callable[[str], Any]) -> None:
        self.document = document
        self._fetch = fetch

    @property
    def simulated(self) -> bool:
        """Whether no real instrument measured anything of it."""
        return bool(self.document["simulated"])

    @property
    def state(self) -> str:
        """State of the job."""
        return str(self.document["state"])

    def values(self) -> dict[str, dict[str, Values]]:
        """Return sample name → task → value name → ``{"value", "unit"}`` of the runs that count."""
        return {
            sample["name"]: {run["task_key"]: numbers(run["values"]) for run in _counting(sample)}
            for sample in self.document["samples"]
        }

    def table(self) -> Table:
        """Return one row per sample."""
        samples = self.document["samples"]
        parameters = list(dict.fromkeys(name for sample in samples for name in sample["parameters"]))
        counting = {run["task_key"] for sample in samples for run in _counting(sample)}
        measured = {
            (column["task"], column["name"]): _heading(**column)
            for column in self.document["columns"]
            if column["task"] in counting
        }
        rows = []
        for sample in samples:
            found = {
                (run["task_key"], name): entry["value"]
                for run in _counting(sample)
                for name, entry in numbers(run["values"]).items()
            }
            own = [_text(sample["parameters"].get(name)) for name in parameters]
            rows.append((sample["name"], sample["state"], *own, *(found.get(key) for key in measured)))
        return Table(("sample", "state", *parameters, *measured.values()), tuple(rows))

    def array(self, name: str, *, sample: str, task: str | None = None) -> Array:
        """Fetch an array of a sample as numpy array; needs numpy.

        Parameters
        ----------
        name
            Name of the array, such as ``absorbance``.
        sample
            Name of the sample.
        task
            Name of the task in the job's workflow, if several offer such an array.

        Raises
        ------
        KeyError
            If there is none, or several fit.
        """
        found = [
            run["arrays"][name]
            for entry in self.document["samples"]
            if entry["name"] == sample
            for run in _counting(entry)
            if name in run["arrays"] and task in (None, run["task_key"])
        ]
        if len(found) != 1:
            raise KeyError(f"{len(found)} arrays {name!r} of sample {sample!r}: {self.array_names()}")
        import numpy as np

        answer = self._fetch(found[0]["links"]["data"])
        axes = {
            axis: (np.array(_unmarked(entry["values"])), str(entry["unit"])) for axis, entry in answer["axes"].items()
        }
        return Array(name, answer["unit"], np.array(_unmarked(answer["values"]), dtype=answer["dtype"]), axes)

    def array_names(self) -> list[str]:
        """Return ``sample/task/array`` for every array."""
        return [
            f"{sample['name']}/{run['task_key']}/{name}"
            for sample in self.document["samples"]
            for run in _counting(sample)
            for name in run["arrays"]
        ]


def numbers(values: Mapping[str, Mapping[str, Any]]) -> Values:
    """Return values with NaN and the infinities as numbers: the server writes them as text, since JSON has none."""
    return {name: {**entry, "value": _unmarked(entry.get("value"))} for name, entry in values.items()}


def _unmarked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unmarked(item) for item in value]
    return float(value) if value in ("NaN", "Infinity", "-Infinity") else value


def _counting(sample: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the runs of a sample that count: of repeated ones, the last that went well."""
    return (run for run in sample["runs"] if run["counts"])


def _heading(task: str, name: str, unit: str) -> str:
    return f"{task}.{name}{f' [{unit}]' if unit else ''}"


def _text(value: Any) -> Any:
    """Return a quantity as text: ``{"value": 100, "unit": "µL"}`` → ``100 µL``."""
    if isinstance(value, Mapping) and set(value) == {"value", "unit"}:
        return (
            f"{value['value']:g} {value['unit']}"
            if isinstance(value["value"], float)
            else " ".join(str(value[key]) for key in ("value", "unit"))
        )
    return value
