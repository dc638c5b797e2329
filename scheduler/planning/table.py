"""The masking table with a time axis.

OCTOPUS's masking table says which devices a step uses or needs to keep still. This one also says *when*:
every device, resource, setting and stock has a calendar of what is reserved, and the table answers "what is
the earliest start of this whole chain?" with all its lags, holds and calendars, and inserts into gaps.

The answer for a chain is exact as long as the chain's own steps do not compete with one another: the feasible
starts are then closed under the componentwise minimum, so raising a predecessor just far enough whenever a
maximum lag or a hold cannot be kept (unscheduling) ends in the least solution. Where own steps compete, their
given order decides.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from scheduler.planning.calendars import NEVER, Intervals, Level
from scheduler.planning.families import Families, Values
from scheduler.planning.layout import OPEN, UNPLACED, Layout
from scheduler.planning.problem import Fixed, Job, Problem
from scheduler.planning.units import HoldLink, Unit, Variant, pull_front

WORTH_KNOWING = 12
"""Intervals that a search passes over before its outcome is remembered."""

MOST_DELAYS = 12
"""Later starts that are tried when a hold meets what cannot move."""


@dataclass(frozen=True, slots=True)
class Placement:
    """What became of an insertion: first start and last end in ticks, or why it was refused."""

    start: int
    finish: int
    placed: bool = True
    broken: int = 0
    reason: str = ""


@dataclass(slots=True)
class Refusal:
    """Why units could not be placed: the unit, and the immovable unit or rule it collided with."""

    unit: int
    culprit: int | None = None
    rule: str = ""


@dataclass(slots=True)
class Snapshot:
    """A copy of all that placing changes, see `MaskingTable.snapshot`."""

    unary: list[Intervals]
    other: list[Any]
    start: list[int]
    chosen: list[int]
    until: list[tuple[HoldLink, int | None]] = field(default_factory=list)


class MaskingTable(Layout):
    """Reservations of all devices and resources over time, and the earliest place for anything more.

    Parameters
    ----------
    problem
        Devices, resources, stocks, and what is fixed. Its jobs are known to the table but not placed, except
        their fixed steps; see `place_job` and `insert`.
    module_locks
        Whether a task occupies its module from its first start to its last end, as most orchestrators do.
    """

    def __init__(self, problem: Problem, *, module_locks: bool = False) -> None:
        super().__init__(problem, module_locks=module_locks)
        self.pinned_now: set[int] = set()
        self.forced = 0
        self._free_again = NEVER
        for fixed in problem.fixed:
            self._pin_in_place(fixed)
        self._pin_holds(self.holds)

    # --- placing

    def fit(self, variant: Variant, time: int) -> int:
        """Return the earliest start at or after `time` at which all atoms of a variant fit, or `NEVER`."""
        unary, calendars = variant.unary, self.unary
        while True:
            before = time
            for number, offset, length in unary:
                calendar = calendars[number]
                ends = calendar.ends
                at = time + offset
                lengths = calendar.known_lengths
                if lengths:
                    i = bisect_right(lengths, length)
                    if i and calendar.known_times[i - 1] > at:
                        at = calendar.known_times[i - 1]
                        time = at - offset
                i = bisect_right(ends, at)
                if i < len(ends):
                    starts = calendar.starts
                    limit = at + length
                    if starts[i] < limit:
                        count, first, begin = len(ends), i, at
                        while i < count and starts[i] < limit:
                            at = ends[i]
                            limit = at + length
                            i += 1
                        if i - first > WORTH_KNOWING:
                            calendar.learn(begin, length, at)
                        time = at - offset
            for number, offset, length, arg in variant.other:
                at = self.other[number].fit(time + offset, length, arg)
                if at >= NEVER:
                    return NEVER
                time = at - offset
            if time == before:
                return time

    def _reserve(self, variant: Variant, start: int) -> None:
        for number, offset, length in variant.unary:
            self.unary[number].add(start + offset, start + offset + length)
        for number, offset, length, arg in variant.other:
            self.other[number].add(start + offset, start + offset + length, arg)

    def _free(self, variant: Variant, start: int) -> None:
        for number, offset, length in variant.unary:
            self.unary[number].remove(start + offset, start + offset + length)
        for number, offset, length, arg in variant.other:
            self.other[number].remove(start + offset, start + offset + length, arg)

    def _calendar(self, number: int) -> Any:
        return self.unary[~number] if number < 0 else self.other[number]

    def _hold_span(self, hold: HoldLink) -> tuple[int, int, int]:
        """Return start, reserved end and wanted end of a hold whose units both are placed."""
        one, two = self.units[hold.first], self.units[hold.last]
        first, last = self.start[hold.first], self.start[hold.last]
        variant, other = one.variants[self.chosen[hold.first]], two.variants[self.chosen[hold.last]]
        begin = first + variant.offsets[hold.first_step]
        end = last + other.offsets[hold.last_step] + other.durations[hold.last_step]
        return begin, begin + hold.base, end

    def _stretch(self, hold: HoldLink, force: bool = False) -> int | None:
        """Extend a hold to its end; return when the capacity it lacks is free again, if it does."""
        begin, until, end = self._hold_span(hold)
        calendar = self._calendar(hold.calendar)
        if hold.base == OPEN:
            calendar.remove(begin, until, hold.arg)
            free = calendar.conflict(max(begin, self.now), max(end, self.now), hold.arg)
            if free is not None and not force:
                calendar.add(begin, until, hold.arg)
                return free
            calendar.add(begin, end, hold.arg)
            hold.until = end
            return None
        if end <= until:
            return None
        if isinstance(calendar, Values | Families):
            # These keep whole runs: take the short one out and put the long one in.
            calendar.remove(begin, until, hold.arg)
            free = calendar.conflict(begin, end, hold.arg)
            if free is not None and not force:
                calendar.add(begin, until, hold.arg)
                return free
            calendar.add(begin, end, hold.arg)
        else:
            free = calendar.conflict(until, end, hold.arg)
            if free is not None and not force:
                return free
            calendar.add(until, end, hold.arg)
        hold.until = end
        return None

    def _shrink(self, hold: HoldLink) -> None:
        if hold.until is None:
            return
        begin, until, _ = self._hold_span(hold)
        calendar = self._calendar(hold.calendar)
        if hold.base == OPEN or isinstance(calendar, Values | Families):
            calendar.remove(begin, hold.until, hold.arg)
            calendar.add(begin, until, hold.arg)
        else:
            calendar.remove(until, hold.until, hold.arg)
        hold.until = None

    def seat(self, unit: Unit, variant: int, start: int) -> None:
        """Reserve a unit at a start, whatever else stands there."""
        self._reserve(unit.variants[variant], start)
        self.start[unit.index], self.chosen[unit.index] = start, variant

    def unseat(self, index: int) -> None:
        """Free a unit's place."""
        unit, start = self.units[index], self.start[index]
        for hold in unit.closes:
            self._shrink(hold)
        for hold in unit.opens:
            self._shrink(hold)
        self._free(unit.variants[self.chosen[index]], start)
        self.start[index] = UNPLACED

    def place(
        self, order: Sequence[int], *, elastic: bool = False, floor: dict[int, int] | None = None
    ) -> Refusal | None:
        """Place units in the given order, each as early as possible, repairing maximum lags and holds.

        When a unit cannot start early enough after one that was placed before it, that one is raised just far
        enough and everything placed after it is placed again. Units outside `order` never move.

        Parameters
        ----------
        order
            Units, none of them placed.
        elastic
            Accept broken maximum lags, deadlines and holds where nothing in `order` can be raised instead of
            refusing.
        floor
            Least starts by unit.

        Returns
        -------
        Refusal or None
            `None` if all are placed. After a refusal none of them is.
        """
        order = list(order)
        low = dict(floor) if floor else {}
        position: dict[int, int] = {}
        raised: dict[tuple[int, int], int] = {}
        budget, tired = 60 * len(order) + 200, False
        i = 0
        while i < len(order):
            index = order[i]
            refusal, needs = self._try(index, low.get(index, -NEVER), {} if tired else position, elastic)
            if refusal is not None:
                self._rewind(order[:i])
                return refusal
            if not needs:
                position[index] = i
                i += 1
                continue
            budget -= 1
            if budget == 0 and not tired:
                # The chase does not end: begin again and break what cannot be kept.
                self._rewind(order[:i])
                if not elastic:
                    return Refusal(index, next(iter(needs)), "window")
                tired, i, position = True, 0, {}
                low = dict(floor) if floor else {}
                continue
            for other, need in needs.items():
                low[other] = max(low.get(other, -NEVER), need)
            if index in needs:
                continue
            back = min(needs, key=lambda other: position[other])
            at = position[back]
            for done in reversed(order[at:i]):
                self.unseat(done)
                del position[done]
            raised[back, index] = raised.get((back, index), 0) + 1
            if raised[back, index] in (3, 9):
                self._pull(order, at, i)
            i = at
        return None

    def _rewind(self, placed: Iterable[int]) -> None:
        for index in placed:
            if self.start[index] != UNPLACED:
                self.unseat(index)

    def _pull(self, order: list[int], at: int, i: int) -> None:
        """Move unit ``order[i]`` and its predecessors directly behind ``order[at]``: they keep losing."""
        order[at + 1 : i + 1] = pull_front(self.units, order[at + 1 : i + 1], order[i])

    def _try(
        self, index: int, low: int, movable: Container[int], elastic: bool
    ) -> tuple[Refusal | None, dict[int, int]]:
        """Seat one unit, or say which movable units would have to start no earlier than when."""
        unit = self.units[index]
        start, chosen = self.start, self.chosen
        refusal: Refusal | None = None
        best, best_variant, best_key = NEVER, -1, 4 * NEVER
        best_needs: dict[int, int] = {}
        for number, variant in enumerate(unit.variants):
            time = unit.release if unit.release > low else low
            for other, table in unit.lo:
                at = start[other]
                if at != UNPLACED:
                    at += table[chosen[other]][number]
                    if at > time:
                        time = at
            time = self.fit(variant, time)
            if time >= NEVER:
                continue
            needs: dict[int, int] = {}
            for other, table, _ in unit.hi:
                at = start[other]
                if at != UNPLACED:
                    away = table[chosen[other]][number]
                    if time > at + away and time - away > needs.get(other, -NEVER):
                        needs[other] = time - away
            finish = time + variant.span
            if unit.deadline is not None and finish > unit.deadline and not elastic:
                refusal = Refusal(index, None, "deadline")
                continue
            # A variant that needs no repair is preferred, then one whose repair is possible.
            key = finish + (2 * NEVER if any(other not in movable for other in needs) else NEVER if needs else 0)
            if key < best_key:
                best, best_variant, best_key, best_needs = time, number, key, needs
        if best_variant < 0:
            return refusal or Refusal(index, None, "capacity"), {}
        stuck = [other for other in best_needs if other not in movable]
        if stuck and not elastic:
            return Refusal(index, stuck[0], "window"), {}
        best_needs = {other: need for other, need in best_needs.items() if other in movable}
        if best_needs:
            return None, best_needs
        self.seat(unit, best_variant, best)
        refusal, needs = self._extend_holds(unit, movable)
        if refusal is None or self._seat_around(unit, low, movable, elastic):
            return None, needs
        if not elastic:
            return refusal, {}
        self.seat(unit, best_variant, best)
        return self._extend_holds(unit, movable, force=True)

    def _seat_around(self, unit: Unit, low: int, movable: Container[int], elastic: bool) -> bool:
        """Seat a unit later or in another variant, so that its holds do not meet what cannot move."""
        for number, variant in enumerate(unit.variants):
            time = max(unit.release, low)
            for other, table in unit.lo:
                if self.start[other] != UNPLACED:
                    time = max(time, self.start[other] + table[self.chosen[other]][number])
            for _ in range(MOST_DELAYS):
                time = self.fit(variant, time)
                if time >= NEVER or (not elastic and not self._in_time(unit, number, time)):
                    break
                self.seat(unit, number, time)
                refusal, needs = self._extend_holds(unit, movable)
                if refusal is None and not needs:
                    return True
                if needs:
                    break
                time = max(time + 1, min(self._free_again, time + variant.span + 1))
        return False

    def _in_time(self, unit: Unit, number: int, time: int) -> bool:
        """Whether a start keeps the maximum lags from placed units and the deadline."""
        for other, table, _ in unit.hi:
            if self.start[other] != UNPLACED and time > self.start[other] + table[self.chosen[other]][number]:
                return False
        return unit.deadline is None or time + unit.variants[number].span <= unit.deadline

    def _extend_holds(
        self, unit: Unit, movable: Container[int], *, force: bool = False
    ) -> tuple[Refusal | None, dict[int, int]]:
        for hold in (*unit.closes, *unit.opens):
            other = hold.first if hold.last == unit.index else hold.last
            if self.start[other] == UNPLACED:
                continue
            free = self._stretch(hold)
            if free is None:
                continue
            begin, _, _ = self._hold_span(hold)
            first = self.start[hold.first]
            own = hold.first == unit.index
            stuck = free >= NEVER or not (own or hold.first in movable)
            if stuck and force:
                self._stretch(hold, force=True)
                self.forced += 1
                continue
            self.unseat(unit.index)
            if stuck:
                self._free_again = free
                return Refusal(unit.index, None if own else hold.first, "hold"), {}
            return None, {hold.first: first + free - begin}
        return None, {}

    def seat_exactly(self, index: int, start: int, variant: int) -> bool:
        """Seat a unit at just this start if every rule allows it; return whether it did."""
        unit = self.units[index]
        if start < unit.release:
            return False
        for other, away in unit.lo:
            at = self.start[other]
            if at != UNPLACED and start < at + away[self.chosen[other]][variant]:
                return False
        if not self._in_time(unit, variant, start) or self.fit(unit.variants[variant], start) != start:
            return False
        self.seat(unit, variant, start)
        refusal, needs = self._extend_holds(unit, ())
        return refusal is None and not needs

    def _pin_in_place(self, fixed: Fixed) -> None:
        unit = self.units[self.unit_of[fixed.step]]
        variant = unit.variants[0]
        # What is over occupies nothing any more, unless it opened a hold.
        present = fixed.end > self.now or bool(unit.opens)
        if present:
            self.pinned_now.add(unit.index)
        for number, offset, length in variant.unary:
            self.unary[number].add_loose(fixed.start + offset, fixed.start + offset + length)
        for number, offset, length, arg in variant.other:
            begin = fixed.start + offset
            if present or isinstance(self.other[number], Level):
                self.other[number].add(begin, begin + length, arg)
        self.start[unit.index], self.chosen[unit.index] = fixed.start, 0

    def _pin_holds(self, holds: Iterable[HoldLink]) -> bool:
        """Extend holds between fixed steps; return whether they lie on what others have reserved."""
        clash = False
        for hold in holds:
            placed = UNPLACED not in (self.start[hold.first], self.start[hold.last])
            if placed and hold.until is None and self._stretch(hold) is not None:
                clash = True
                self._stretch(hold, force=True)
        return clash

    def place_job(self, job: str, *, elastic: bool = False) -> Refusal | None:
        """Place a known job."""
        return self.place(self.job_units[job], elastic=elastic)

    # --- copies and plans

    def snapshot(self) -> Snapshot:
        """Return a copy of the reservations; cheap next to placing them again."""
        return Snapshot(
            [calendar.copy() for calendar in self.unary],
            [calendar.copy() for calendar in self.other],
            self.start[:],
            self.chosen[:],
            [(hold, hold.until) for hold in self.holds],
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot, which stays usable. Units that have come since have no place then."""
        self.unary = [calendar.copy() for calendar in snapshot.unary]
        self.other = [calendar.copy() for calendar in snapshot.other]
        new = len(self.units) - len(snapshot.start)
        self.start, self.chosen = snapshot.start + new * [UNPLACED], snapshot.chosen + new * [0]
        for hold, until in snapshot.until:
            hold.until = until

    def spans(self) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
        """Return starts, ends and modes of all placed steps."""
        starts, ends, modes = {}, {}, {}
        for unit in self.units:
            start = self.start[unit.index]
            if start == UNPLACED or not unit.steps:
                continue
            variant = unit.variants[self.chosen[unit.index]]
            for i, name in enumerate(unit.steps):
                starts[name] = start + variant.offsets[i]
                ends[name] = starts[name] + variant.durations[i]
                modes[name] = variant.modes[i]
        return starts, ends, modes

    def job_span(self, job: str) -> tuple[int, int]:
        """Return first start and last end of a job's placed units."""
        first, last = NEVER, self.now
        for index in self.job_units[job]:
            unit, start = self.units[index], self.start[index]
            if start != UNPLACED:
                first = min(first, start)
                last = max(last, start + unit.variants[self.chosen[index]].span)
        return first, last


def arrival_order(problem: Problem, table: MaskingTable) -> list[Job]:
    """Return the jobs with those under way first, then by release, then as in the file."""
    under_way = {table.units[table.unit_of[fixed.step]].job for fixed in problem.fixed}
    return sorted(problem.jobs, key=lambda job: (job.id not in under_way, job.release))


def say_refusal(table: MaskingTable, refusal: Refusal) -> str:
    """Say why a unit has no place, for a person."""
    unit = table.units[refusal.unit]
    steps = " and ".join(unit.steps)
    if refusal.rule == "deadline":
        return f"{steps} cannot end before the deadline at {unit.deadline}"
    if refusal.culprit is not None:
        other = " and ".join(table.units[refusal.culprit].steps)
        return f"{steps} cannot be placed in time after {other}, which cannot move"
    return f"{steps} needs more than there is"
