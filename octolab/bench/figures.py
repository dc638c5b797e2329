"""Distributions, as people read them."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which that share (0 to 1) of the values lies; NaN without any."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def distribution_ms(seconds: Sequence[float]) -> dict[str, float]:
    """Return count, median, 95th and 99th percentile and maximum, in milliseconds."""
    return {
        "count": len(seconds),
        "median_ms": round(percentile(seconds, 0.5) * 1000, 2),
        "p95_ms": round(percentile(seconds, 0.95) * 1000, 2),
        "p99_ms": round(percentile(seconds, 0.99) * 1000, 2),
        "max_ms": round(max(seconds, default=math.nan) * 1000, 2),
    }
