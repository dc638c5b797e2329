"""Optimisers that do not learn: for comparison, and for covering a space."""

from __future__ import annotations

import itertools
import math
from typing import ClassVar

import numpy as np

from .base import Choice, Continuous, Dimension, Integer, Optimiser, Value

GRID_POINTS = 5


class Random(Optimiser):
    """Draws each trial on its own."""

    name: ClassVar[str] = "random"

    def _suggest(self, number: int) -> dict[str, Value] | None:
        draw = np.random.default_rng([self.settings.seed, number])
        return {dimension.name: _at(dimension, float(draw.random())) for dimension in self.settings.space}


class Grid(Optimiser):
    """Goes through a grid: all choices, and up to five values of each range. The last dimension runs fastest."""

    name: ClassVar[str] = "grid"

    def _suggest(self, number: int) -> dict[str, Value] | None:
        levels = [_levels(dimension) for dimension in self.settings.space]
        point = next(itertools.islice(itertools.product(*levels), number, None), None)
        if point is None:
            return None
        return {dimension.name: value for dimension, value in zip(self.settings.space, point, strict=True)}


def _levels(dimension: Dimension) -> tuple[Value, ...]:
    match dimension:
        case Choice(options=options):
            return options
        case Integer(low=low, high=high) if high - low < GRID_POINTS:
            return tuple(range(low, high + 1))
    return tuple(_at(dimension, step / (GRID_POINTS - 1)) for step in range(GRID_POINTS))


def _at(dimension: Dimension, share: float) -> Value:
    """Return the value at a share (0 to 1) of the way through a dimension."""
    match dimension:
        case Continuous(low=low, high=high, log=True):
            return min(high, max(low, low * math.exp(share * math.log(high / low))))
        case Continuous(low=low, high=high):
            return min(high, low + share * (high - low))
        case Integer(low=low, high=high):
            return min(high, low + int(share * (high - low + 1)))
        case Choice(options=options):
            return options[min(len(options) - 1, int(share * len(options)))]
