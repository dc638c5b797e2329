"""Optimisers: ask what to measure next, tell what it gave. No Django."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .base import Choice, Continuous, Dimension, Integer, Optimiser, Settings, Trial, Value
from .simple import Grid, Random
from .tpe import TPE

OPTIMISERS: Mapping[str, type[Optimiser]] = {kind.name: kind for kind in (Random, Grid, TPE)}


def restore(document: Mapping[str, Any]) -> Optimiser:
    """Return the optimiser that :meth:`Optimiser.document` described; ``KeyError`` if it is of no known kind."""
    return OPTIMISERS[document["optimiser"]](
        Settings.model_validate(document["settings"]), [Trial.model_validate(trial) for trial in document["trials"]]
    )


__all__ = [
    "OPTIMISERS",
    "TPE",
    "Choice",
    "Continuous",
    "Dimension",
    "Grid",
    "Integer",
    "Optimiser",
    "Random",
    "Settings",
    "Trial",
    "Value",
    "restore",
]
