"""Analysis routines: registered, versioned code; never text that somebody uploads. No Django."""

from __future__ import annotations

from .base import Findings, NewArray, Parameters, Quantity, Routine, get, known, register, routine_id
from .spectrum import Peak, find_peaks, quantities

__all__ = [
    "Findings",
    "NewArray",
    "Parameters",
    "Peak",
    "Quantity",
    "Routine",
    "find_peaks",
    "get",
    "known",
    "quantities",
    "register",
    "routine_id",
]
