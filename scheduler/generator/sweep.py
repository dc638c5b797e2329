"""From the samples as written to one entry per sample."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from scheduler.jobformat.model import MAX_SAMPLES, FromPosition, FromSample, JobDocument, Range, SampleEntry, Sweep
from scheduler.jobformat.problems import Path, Problems
from scheduler.jobformat.units import UnitError, split, to_unit


@dataclass(slots=True)
class SampleSpec:
    """One sample of a job.

    Attributes
    ----------
    path
        Where it stands in the document.
    parameters
        As written: numbers, or texts with units.
    """

    name: str
    path: Path = ("samples",)
    parameters: dict[str, Any] = field(default_factory=dict)
    source: FromSample | FromPosition | None = None


def expand_samples(document: JobDocument, problems: Problems) -> list[SampleSpec]:
    """Return the job's samples; one if it does not say."""
    match document.samples:
        case None:
            return [SampleSpec("sample 1")]
        case int(count):
            return [SampleSpec(f"sample {number}") for number in range(1, count + 1)]
        case Sweep() as sweep:
            return _sweep(sweep, problems)
        case entries:
            return [_entry(entry, index) for index, entry in enumerate(entries)]


def _entry(entry: SampleEntry, index: int) -> SampleSpec:
    source = None if entry.from_ == "made" else entry.from_
    name = entry.name or _named(entry.with_) or f"sample {index + 1}"
    return SampleSpec(name, ("samples", index), dict(entry.with_), source)


def _sweep(sweep: Sweep, problems: Problems) -> list[SampleSpec]:
    axes = {name: _values(axis, ("samples", "sweep", name), problems) for name, axis in sweep.sweep.items()}
    if any(not values for values in axes.values()):
        return []
    lengths = {name: len(values) for name, values in axes.items()}
    if sweep.combine == "zip":
        if len(set(lengths.values())) > 1:
            counts = ", ".join(f"`{name}` has {length}" for name, length in lengths.items())
            problems.add(("samples", "sweep"), f"With `combine: zip` all need equally many values, but {counts}.")
            return []
        total = next(iter(lengths.values()))
    else:
        total = math.prod(lengths.values())
    if total * sweep.repeat > MAX_SAMPLES:
        problems.add(
            ("samples",), f"This makes {total * sweep.repeat} samples; a job has at most {MAX_SAMPLES}. Split it."
        )
        return []
    combine = zip(*axes.values(), strict=True) if sweep.combine == "zip" else itertools.product(*axes.values())
    specs: list[SampleSpec] = []
    for combination in combine:
        parameters = dict(zip(axes, combination, strict=True))
        for number in range(1, sweep.repeat + 1):
            suffix = f" #{number}" if sweep.repeat > 1 else ""
            name = _named(parameters) or f"sample {len(specs) + 1}"
            specs.append(SampleSpec(name[:190] + suffix, ("samples",), dict(parameters)))
    if sweep.shuffle is not None:
        random.Random(sweep.shuffle).shuffle(specs)
    return specs


def _named(parameters: dict[str, Any]) -> str:
    """Return a name that tells samples apart: ``agno3 100 µL``."""
    parts = [f"{name} {_short(value)}" for name, value in parameters.items()]
    return ", ".join(parts)[:190]


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)[:40]


def _values(axis: Range | Sequence[Any], path: Path, problems: Problems) -> list[Any]:
    if not isinstance(axis, Range):
        return list(axis)
    try:
        return _spaced(axis)
    except UnitError as error:
        problems.add(path, f"{error}".removesuffix("?") + ("?" if str(error).endswith("?") else "."))
        return []


def _spaced(axis: Range) -> list[Any]:
    """Return the values of a range, in the unit of its first one."""
    first, unit = _parts(axis.from_)
    written, other = _parts(axis.to)
    last = to_unit(axis.to, unit) if other and unit else written
    if bool(unit) != bool(other):
        kind = unit or other
        raise UnitError(
            f"`from` and `to` need the same kind of unit, such as `{first:g} {kind}` and `{written:g} {kind}`"
        )
    if axis.spacing == "log" and (first <= 0 or last <= 0):
        raise UnitError("with `spacing: log` both ends must be greater than zero")
    if (axis.count is None) == (axis.step is None):
        raise UnitError("give either `count` or `step`")
    if axis.step is not None:
        numbers = _stepped(axis, axis.step, first, last, unit)
    elif axis.count == 1:
        numbers = [first]
    else:
        count = axis.count or 1
        shares = [index / (count - 1) for index in range(count)]
        if axis.spacing == "log":
            numbers = [first * (last / first) ** share for share in shares]
        else:
            numbers = [first + (last - first) * share for share in shares]
    rounded = [float(f"{number:.12g}") for number in numbers]
    if not all(map(math.isfinite, rounded)):
        raise UnitError("the range is too wide")
    return [f"{number:.12g} {unit}" for number in rounded] if unit else [_plain(number) for number in rounded]


def _plain(number: float) -> float | int:
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _stepped(axis: Range, written: str | float, first: float, last: float, unit: str) -> list[float]:
    if axis.spacing == "log":
        raise UnitError("with `spacing: log` give `count`")
    step = to_unit(written, unit) if unit else _parts(written)[0]
    if step == 0 or (last - first) / step < 0:
        raise UnitError("`step` must lead from `from` to `to`; is its sign right?")
    ratio = (last - first) / step
    if ratio > MAX_SAMPLES:
        raise UnitError(f"this range has more than {MAX_SAMPLES} values")
    if round(ratio) >= 1 and abs(ratio - round(ratio)) < 1e-9 * ratio:
        # it ends at the last value: hit that exactly
        step = (last - first) / round(ratio)
        ratio = round(ratio)
    return [first + index * step for index in range(math.floor(ratio) + 1)]


def _parts(value: str | float) -> tuple[float, str]:
    if not isinstance(value, str):
        return float(value), ""
    number, unit = split(value)
    if number is None:
        raise UnitError(f"`{value[:40]}` is not a quantity; write it like `100 µL`")
    return number, unit
