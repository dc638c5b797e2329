"""Calendars: what is reserved when, and the earliest time at which something more fits.

One class for each kind of rule. All of them answer in time that depends on the number of reservations, not on
the resolution or the horizon (see docs/planning.md for the measurements that decided for interval lists), and
share one interface:

``fit(time, length, arg)``
    the earliest start at or after `time` at which `length` ticks are possible, or `NEVER`;
``conflict(start, end, arg)``
    the end of the last stretch within ``[start, end)`` that forbids it, or `None`;
``add`` and ``remove``
    reserve and free ``[start, end)``.

`arg` is what the rule needs: a quantity, a family, a value. Those that remember what was there before
are in `families`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from typing import Any, Protocol

NEVER = 1 << 60
ALWAYS = -NEVER


class Calendar(Protocol):
    """What the masking table needs of a calendar."""

    def fit(self, time: int, length: int, arg: Any) -> int:
        """Return the earliest start at or after `time`."""

    def conflict(self, start: int, end: int, arg: Any) -> int | None:
        """Return the end of the last stretch that forbids ``[start, end)``."""

    def add(self, start: int, end: int, arg: Any) -> None:
        """Reserve ``[start, end)``."""

    def remove(self, start: int, end: int, arg: Any) -> None:
        """Free ``[start, end)``."""

    def copy(self) -> Calendar:
        """Return an independent copy."""

    def prune(self, before: int) -> None:
        """Forget what ended at or before `before`."""


class Intervals:
    """A unary device: sorted, merged, disjoint intervals.

    `loose` lists intervals that may overlap others (maintenance, work that already runs); they are restored
    when something on top of them is freed. `known_lengths` and `known_times` are a staircase: from `origin`,
    before which nobody asks, up to the time there is no gap of the length. It spares long scans over small
    gaps, and holds until something is freed.
    """

    __slots__ = ("ends", "known_lengths", "known_times", "loose", "origin", "starts")

    def __init__(self, origin: int = ALWAYS) -> None:
        self.origin = origin
        self.known_lengths: list[int] = []
        self.known_times: list[int] = []
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.loose: list[tuple[int, int]] = []

    def fit(self, time: int, length: int, arg: Any = None) -> int:
        """Return the earliest start at or after `time` of a gap of `length` ticks."""
        starts, ends = self.starts, self.ends
        i = bisect_right(ends, time)
        limit = time + length
        count = len(ends)
        while i < count and starts[i] < limit:
            time = ends[i]
            limit = time + length
            i += 1
        return time

    def learn(self, begin: int, length: int, time: int) -> None:
        """Remember that from `begin` to `time` there is no gap of `length`, if it joins what is known."""
        lengths, times = self.known_lengths, self.known_times
        i = bisect_right(lengths, length)
        known = times[i - 1] if i else self.origin
        if begin > known or time <= known:
            return
        if i and lengths[i - 1] == length:
            i -= 1
            times[i] = time
        else:
            lengths.insert(i, length)
            times.insert(i, time)
        # What is known of longer gaps, but no further, is implied.
        j = i + 1
        while j < len(times) and times[j] <= time:
            j += 1
        del lengths[i + 1 : j], times[i + 1 : j]

    def conflict(self, start: int, end: int, arg: Any = None) -> int | None:
        """Return the end of the last interval that meets ``[start, end)``."""
        i = bisect_left(self.starts, end) - 1
        return self.ends[i] if i >= 0 and self.ends[i] > start else None

    def add(self, start: int, end: int, arg: Any = None) -> None:
        """Reserve ``[start, end)``; overlaps are merged."""
        starts, ends = self.starts, self.ends
        i = bisect_left(ends, start)
        j = bisect_right(starts, end, i)
        if i == j:
            starts.insert(i, start)
            ends.insert(i, end)
        elif j == i + 1:
            if start < starts[i]:
                starts[i] = start
            if end > ends[i]:
                ends[i] = end
        else:
            starts[i:j] = [min(start, starts[i])]
            ends[i:j] = [max(end, ends[j - 1])]

    def remove(self, start: int, end: int, arg: Any = None) -> None:
        """Free ``[start, end)``, cutting merged intervals."""
        starts, ends = self.starts, self.ends
        if self.known_lengths:
            self.known_lengths.clear()
            self.known_times.clear()
        i = bisect_right(ends, start)
        j = bisect_left(starts, end, i)
        if i == j:
            return
        left = [starts[i]] if starts[i] < start else []
        right = [ends[j - 1]] if ends[j - 1] > end else []
        starts[i:j] = left + ([end] if right else [])
        ends[i:j] = ([start] if left else []) + right
        for one, two in self.loose:
            if one < end and start < two:
                self.add(one, two)

    def add_loose(self, start: int, end: int) -> None:
        """Reserve an interval that may overlap others."""
        self.loose.append((start, end))
        self.add(start, end)

    def remove_loose(self, start: int, end: int) -> None:
        """Free an interval reserved with `add_loose`."""
        if (start, end) in self.loose:
            self.loose.remove((start, end))
        self.remove(start, end)

    def copy(self) -> Intervals:
        """Return an independent copy."""
        new = Intervals.__new__(Intervals)
        new.starts, new.ends, new.loose = self.starts[:], self.ends[:], self.loose
        new.origin, new.known_lengths, new.known_times = self.origin, [], []
        return new

    def prune(self, before: int) -> None:
        """Forget intervals that ended at or before `before`."""
        i = bisect_right(self.ends, before)
        del self.starts[:i], self.ends[:i]
        self.loose = [pair for pair in self.loose if pair[1] > before]


class Profile:
    """A cumulative resource: a step function of the units in use.

    A device on which steps may keep still together is a profile too: *use* takes all of it, *still* one unit.
    """

    __slots__ = ("capacity", "times", "used")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.times: list[int] = [ALWAYS]
        self.used: list[int] = [0]

    def fit(self, time: int, length: int, arg: int) -> int:
        """Return the earliest start at or after `time` of a stretch with `arg` units left throughout."""
        limit = self.capacity - arg
        times, used = self.times, self.used
        i = bisect_right(times, time) - 1
        count = len(times)
        end = time + length
        while True:
            if used[i] > limit:
                i += 1
                if i == count:
                    return NEVER
                time = times[i]
                end = time + length
                continue
            i += 1
            if i == count or times[i] >= end:
                return time

    def conflict(self, start: int, end: int, arg: int) -> int | None:
        """Return when the last shortage of `arg` units within ``[start, end)`` ends."""
        limit = self.capacity - arg
        times, used = self.times, self.used
        first = bisect_right(times, start) - 1
        i = bisect_left(times, end) - 1
        while i >= first:
            if used[i] > limit:
                # The shortage may go on beyond `end`.
                while i + 1 < len(times) and used[i + 1] > limit:
                    i += 1
                return times[i + 1] if i + 1 < len(times) else NEVER
            i -= 1
        return None

    def _split(self, time: int) -> int:
        i = bisect_left(self.times, time)
        if i == len(self.times) or self.times[i] != time:
            self.times.insert(i, time)
            self.used.insert(i, self.used[i - 1])
        return i

    def add(self, start: int, end: int, arg: int) -> None:
        """Take `arg` units during ``[start, end)``, even beyond the capacity."""
        if end <= start:
            return
        i = self._split(start)
        j = self._split(end)
        used = self.used
        for k in range(i, j):
            used[k] += arg
        for k in (j, i):
            if used[k] == used[k - 1]:
                del self.times[k], used[k]

    def remove(self, start: int, end: int, arg: int) -> None:
        """Give `arg` units back."""
        self.add(start, end, -arg)

    def copy(self) -> Profile:
        """Return an independent copy."""
        new = Profile.__new__(Profile)
        new.capacity, new.times, new.used = self.capacity, self.times[:], self.used[:]
        return new

    def prune(self, before: int) -> None:
        """Forget steps of the profile before `before`."""
        i = bisect_right(self.times, before) - 1
        if i > 0:
            del self.times[:i], self.used[:i]
            self.times[0] = ALWAYS


class Level:
    """A stock: dated changes of its level, which must never fall below the least level."""

    __slots__ = ("changes", "level", "minimum")

    def __init__(self, level: int, minimum: int = 0) -> None:
        self.level, self.minimum = level, minimum
        self.changes: list[tuple[int, int]] = []

    def fit(self, time: int, length: int, arg: int) -> int:
        """Return the earliest time at or after `time` from which on `arg` units can be missing for ever."""
        if arg <= 0:
            return time
        level = self.level + sum(change for _, change in self.changes)
        need = self.minimum + arg
        if level < need:
            return NEVER
        # Walk back over the changes while the level stays sufficient.
        i = len(self.changes)
        while i > 0:
            when = self.changes[i - 1][0]
            while i > 0 and self.changes[i - 1][0] == when:
                level -= self.changes[i - 1][1]
                i -= 1
            if level < need or when <= time:
                return max(time, when)
        return time

    def conflict(self, start: int, end: int, arg: int) -> int | None:
        """Return the first later time that is possible, if `start` is not."""
        time = self.fit(start, 0, arg)
        return None if time == start else time

    def add(self, start: int, end: int, arg: int) -> None:
        """Take `arg` units at `start`; a negative quantity arrives at `end`."""
        insort(self.changes, (start if arg > 0 else end, -arg))

    def remove(self, start: int, end: int, arg: int) -> None:
        """Undo `add`."""
        self.changes.remove((start if arg > 0 else end, -arg))

    def copy(self) -> Level:
        """Return an independent copy."""
        new = Level(self.level, self.minimum)
        new.changes = self.changes[:]
        return new

    def prune(self, before: int) -> None:
        """Fold changes up to `before` into the level."""
        i = bisect_right(self.changes, (before, NEVER))
        self.level += sum(change for _, change in self.changes[:i])
        del self.changes[:i]
