"""Quantities as people write them: ``1200 µL``, ``1.2 mL``, ``25 °C``, ``5 min``.

Pint knows the units. It is loaded only when a job uses a unit that is neither the manifest's nor one of everybody's,
because it takes 34 MB, and a third of a second, for which the first such job would wait.
"""

from __future__ import annotations

import math
import re
from functools import cache, lru_cache
from typing import Any

from modules.contract.units import canonical

_QUANTITY = re.compile(r"\s*([-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)\s*(.*?)\s*", re.DOTALL)
_UNIT = re.compile(r"[A-Za-zµμ°Ω%][A-Za-zµμ°Ω%0-9_ /*·^.²³⁻¹()-]{0,39}")
_BIG_EXPONENT = re.compile(r"(\*\*|\^)\s*[-(]*\s*\d{2,}|\d{3,}|(\*\*|\^)[^*^]*(\*\*|\^)")
_EXAMPLES = {
    "µL": "1200 µL", "mL": "1.2 mL", "µL/s": "200 µL/s", "s": "5 min", "degC": "25 °C", "mM": "10 mM",
    "rpm": "1000 rpm", "nm": "300 nm",
}  # fmt: skip
_COMMON = {
    "ms": ("time", 1), "s": ("time", 1000), "min": ("time", 60_000), "h": ("time", 3_600_000),
    "µL": ("volume", 1), "mL": ("volume", 1000), "L": ("volume", 1_000_000),
}  # fmt: skip
"""What everybody writes, and how many of the smallest of its kind it is."""


class UnitError(ValueError):
    """A text is no quantity, or its unit does not fit."""


def to_unit(value: float | str, unit: str) -> float:
    """Return a quantity as a number in ``unit``. A plain number is taken to be in that unit already.

    Raises
    ------
    UnitError
        If the text is no quantity, the unit is unknown, or of another kind. The text says what would be right.
    """
    if not isinstance(value, str):
        return float(value)
    number, written = split(value)
    if number is None:
        raise UnitError(f"`{_short(value)}` is not a quantity; write it like `{example(unit)}`")
    if not written:
        return number
    factor, offset = conversion(written, unit)
    result = number * factor + offset
    if not math.isfinite(result):
        raise UnitError(f"`{_short(value)}` is too large")
    # 1.2 mL shall be 1200 µL, not 1199.9999999999998
    return float(f"{result:.12g}")


def split(text: str) -> tuple[float | None, str]:
    """Return number and unit of a text, ``(None, text)`` if it does not start with a number."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None, text
    number = float(match[1])
    return (number, match[2]) if math.isfinite(number) else (None, text)


def example(unit: str) -> str:
    """Return a text with a unit of this kind."""
    return _EXAMPLES.get(unit, f"10 {unit}" if unit not in ("", "1") else "10")


@lru_cache(maxsize=1024)
def conversion(written: str, unit: str) -> tuple[float, float]:
    """Return factor and offset that turn a number in ``written`` into one in ``unit``.

    Raises
    ------
    UnitError
        If ``written`` is unknown, or of another kind than ``unit``.
    """
    source, target = canonical(written), canonical(unit)
    if source == target:
        return 1.0, 0.0
    if source in _COMMON and target in _COMMON:
        (kind, many), (wanted, few) = _COMMON[source], _COMMON[target]
        if kind == wanted:
            return many / few, 0.0
    if source != "1" and (not _UNIT.fullmatch(source) or _BIG_EXPONENT.search(source)):
        raise UnitError(f"`{_short(written)}` is not a unit; write it like `{example(unit)}`")
    quantity = _registry().Quantity
    try:
        zero, one = (quantity(number, source).to(target).magnitude for number in (0.0, 1.0))
    except Exception as error:
        raise UnitError(_reason(written, unit, error)) from error
    return float(one - zero), float(zero)


def _reason(written: str, unit: str, error: Exception) -> str:
    from pint.errors import DimensionalityError, UndefinedUnitError

    if isinstance(error, DimensionalityError):
        kind = f"a unit such as in `{example(unit)}`" if canonical(unit) != "1" else "a number without a unit"
        return f"`{_short(written)}` does not fit: this takes {kind}"
    if isinstance(error, UndefinedUnitError):
        return f"the unit `{_short(written)}` is unknown; write it like `{example(unit)}`"
    return f"`{_short(written)}` is not a unit; write it like `{example(unit)}`"


@cache
def _registry() -> Any:
    import pint

    return pint.UnitRegistry(cache_folder=None)


def show(value: float, unit: str) -> str:
    """Return a number with its unit for people: ``1200 µL``."""
    spelled = {"degC": "°C", "1": ""}.get(canonical(unit), unit)
    return f"{value:.6g} {spelled}".strip()


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "…"
