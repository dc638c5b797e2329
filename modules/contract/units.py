"""How units are spelled, in manifests and lab files as in jobs."""

from __future__ import annotations

_SPELLINGS = str.maketrans({"μ": "µ", "·": "*"})
_SAME = {"°C": "degC", "celsius": "degC", "uL": "µL", "ul": "µL", "µl": "µL", "ml": "mL", "": "1"}


def canonical(unit: str) -> str:
    """Return the usual spelling of a unit."""
    unit = unit.strip().translate(_SPELLINGS)
    return _SAME.get(unit, unit)
