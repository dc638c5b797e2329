"""Calendars that remember what was there before: setups, batches and settings.

They have the interface of `calendars`, but keep every run for itself, since what comes next depends on it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping
from typing import NamedTuple

from scheduler.planning.calendars import Intervals


class Run(NamedTuple):
    """What `Families` needs to know of a use: its setup family, batch key and size."""

    family: str | None = None
    batch: str | None = None
    size: int = 1


class Families:
    """A unary device with sequence-dependent setups, or one that takes batches.

    Every run is kept for itself. A step joins a run of the same batch key and length that has places left.
    `closed` holds maintenance, which does not change the family that the device was left in.
    """

    __slots__ = ("batch", "closed", "origin", "runs", "setups", "state")

    def __init__(
        self, setups: Mapping[tuple[str, str], int], batch: int = 1, state: str | None = None, origin: int = 0
    ) -> None:
        self.setups, self.batch, self.state, self.origin = setups, batch, state, origin
        self.closed = Intervals()
        self.runs: list[tuple[int, int, Run, int]] = []  # start, end, what, total size

    def _setup(self, before: str | None, after: str | None) -> int:
        return self.setups.get((before, after), 0) if before is not None and after is not None else 0

    def fit(self, time: int, length: int, arg: Run) -> int:
        """Return the earliest start at or after `time`, setups included, alone or in a run with places."""
        i = max(0, bisect_right(self.runs, (time,)) - 1)
        while i > 0 and self.runs[i - 1][1] > time:
            i -= 1
        while True:
            if i == 0:
                ready = self.origin + self._setup(self.state, arg.family) if self.state is not None else time
            else:
                ready = self.runs[i - 1][1] + self._setup(self.runs[i - 1][2].family, arg.family)
            start = self.closed.fit(max(time, ready), length)
            if i == len(self.runs):
                return start
            other = self.runs[i]
            if start + length + self._setup(arg.family, other[2].family) <= other[0]:
                return start
            if other[0] >= time and self._joins(other, length, arg):
                return other[0]
            i += 1

    def _joins(self, run: tuple[int, int, Run, int], length: int, arg: Run) -> bool:
        return (
            arg.batch is not None
            and run[2].batch == arg.batch
            and run[1] - run[0] == length
            and run[3] + arg.size <= self.batch
        )

    def conflict(self, start: int, end: int, arg: Run) -> int | None:
        """Return the first later time that is free, if ``[start, end)`` is not."""
        time = self.fit(start, end - start, arg)
        return None if time == start else time

    def add(self, start: int, end: int, arg: Run) -> None:
        """Reserve a run, or places in one."""
        i = bisect_left(self.runs, (start,))
        if i < len(self.runs) and self.runs[i][0] == start and self._joins(self.runs[i], end - start, arg):
            run = self.runs[i]
            self.runs[i] = (run[0], run[1], run[2], run[3] + arg.size)
        else:
            insort(self.runs, (start, end, arg, arg.size), key=lambda run: run[0])

    def remove(self, start: int, end: int, arg: Run) -> None:
        """Free places, and the run with its last one."""
        i = bisect_left(self.runs, (start,))
        while self.runs[i][1] != end or self.runs[i][2].batch != arg.batch:
            i += 1
        run = self.runs[i]
        if run[3] > arg.size:
            self.runs[i] = (run[0], run[1], run[2], run[3] - arg.size)
        else:
            del self.runs[i]

    def copy(self) -> Families:
        """Return an independent copy."""
        new = Families(self.setups, self.batch, self.state, self.origin)
        new.closed = self.closed
        new.runs = self.runs[:]
        return new

    def prune(self, before: int) -> None:
        """Forget old runs, but remember the family the device was left in."""
        while self.runs and self.runs[0][1] <= before:
            run = self.runs.pop(0)
            self.state, self.origin = run[2].family or self.state, run[1]


class Values:
    """A setting that holders of the same value share; between values a setup time may be needed."""

    __slots__ = ("held", "origin", "setups", "state")

    def __init__(self, setups: Mapping[tuple[str, str], int], state: str | None = None, origin: int = 0) -> None:
        self.setups, self.state, self.origin = setups, state, origin
        self.held: list[tuple[int, int, str]] = []

    def fit(self, time: int, length: int, arg: str) -> int:
        """Return the earliest start at or after `time` at which no other value is held."""
        if self.state is not None and self.state != arg:
            time = max(time, self.origin + self.setups.get((self.state, arg), 0))
        moved = True
        while moved:
            moved = False
            for start, end, value in self.held:
                if value == arg:
                    continue
                if time + length + self.setups.get((arg, value), 0) > start:
                    ready = end + self.setups.get((value, arg), 0)
                    if ready > time:
                        time, moved = ready, True
        return time

    def conflict(self, start: int, end: int, arg: str) -> int | None:
        """Return the first later time that is free, if ``[start, end)`` is not."""
        time = self.fit(start, end - start, arg)
        return None if time == start else time

    def add(self, start: int, end: int, arg: str) -> None:
        """Hold value `arg`."""
        insort(self.held, (start, end, arg))

    def remove(self, start: int, end: int, arg: str) -> None:
        """Let go of a value."""
        self.held.remove((start, end, arg))

    def copy(self) -> Values:
        """Return an independent copy."""
        new = Values(self.setups, self.state, self.origin)
        new.held = self.held[:]
        return new

    def prune(self, before: int) -> None:
        """Forget what ended, but remember the value that was left."""
        for _, end, value in sorted(self.held, key=lambda held: held[1]):
            if end <= before:
                self.state, self.origin = value, end
        self.held = [held for held in self.held if held[1] > before]
