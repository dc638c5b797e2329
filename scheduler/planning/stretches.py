"""Stretches of time that constants take: their union, their sum, and the level of a stock that they lead to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any


def union(parts: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return disjoint, sorted stretches that cover the same time."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(part for part in parts if part[1] > part[0]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def profile(parts: Iterable[tuple[int, int, int]], capacity: int) -> Iterator[tuple[int, int, int]]:
    """Yield the stepwise sum of what constants take, never more than the capacity."""
    changes: dict[int, int] = defaultdict(int)
    for start, end, quantity in parts:
        if end > start:
            changes[start] += quantity
            changes[end] -= quantity
    level, since = 0, 0
    for time in sorted(changes):
        if level > 0 and time > since:
            yield since, time, min(level, capacity)
        level += changes[time]
        since = time


def lowest(level: int, changes: Iterable[tuple[Any, int]]) -> int:
    """Return the lowest level that constants alone lead to: facts are not judged again."""
    lowest = level
    constants = [(time, change) for time, change in changes if isinstance(time, int)]
    for _, change in sorted(constants, key=lambda event: (event[0], -event[1])):
        level += change
        lowest = min(lowest, level)
    return lowest
