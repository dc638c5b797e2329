"""A masking table whose jobs come, go and change while the rest stays where it is."""

from __future__ import annotations

from collections.abc import Iterable

from scheduler.planning.calendars import Level, Profile
from scheduler.planning.layout import OPEN, UNPLACED
from scheduler.planning.problem import Fixed
from scheduler.planning.table import MaskingTable
from scheduler.planning.units import HoldLink, Unit


class EditableTable(MaskingTable):
    """The masking table of a live laboratory; see `scheduler.planning.live`."""

    def shares(self, device: str) -> bool:
        """Whether steps can keep a device still together in this table."""
        return ("device", device) in self._other_of

    def drop_job(self, job: str) -> list[int]:
        """Free and forget all units of a job; return their numbers."""
        gone = self.all_units.pop(job, [])
        holds: set[int] = set()
        for index in gone:
            unit = self.units[index]
            holds.update(map(id, (*unit.opens, *unit.closes)))
            if self.start[index] != UNPLACED:
                self._unpin(unit) if unit.pinned is not None else self.unseat(index)
        for index in gone:
            unit = self.units[index]
            for other in {row[0] for row in unit.lo} | {row[0] for row in unit.hi}:
                near = self.units[other]
                near.lo = [row for row in near.lo if row[0] != index]
                near.hi = [row for row in near.hi if row[0] != index]
            for name in unit.steps:
                self.unit_of.pop(name, None)
            self.units[index] = Unit(index, "", (), [])
        if holds:
            self.holds = [hold for hold in self.holds if id(hold) not in holds]
        # Numbers are given out again, smallest first, because their order is the order of the file.
        self.free_numbers = sorted({*self.free_numbers, *gone}, reverse=True)
        self.job_units.pop(job, None)
        self.jobs.pop(job, None)
        return gone

    def set_fixed(self, fixed: Iterable[Fixed], steps: Iterable[str]) -> None:
        """State which of `steps` are fixed from now on, before their job is added again."""
        for name in steps:
            self._fixed.pop(name, None)
        for item in fixed:
            self._fixed[item.step] = item

    def pin(self, fixed: Iterable[Fixed]) -> bool:
        """Reserve fixed steps of a job that was just added; return whether they clash with others."""
        holds: list[HoldLink] = []
        clash = False
        for item in fixed:
            unit = self.units[self.unit_of[item.step]]
            clash = clash or self._clashes(unit, item)
            self._pin_in_place(item)
            holds.extend((*unit.opens, *unit.closes))
        return self._pin_holds(holds) or clash

    def _clashes(self, unit: Unit, fixed: Fixed) -> bool:
        """Whether what a fixed step occupies from now on is reserved by others."""
        variant = unit.variants[0]
        for number, offset, length in variant.unary:
            begin = max(fixed.start + offset, self.now)
            end = fixed.start + offset + length
            if begin < end and self.unary[number].conflict(begin, end) is not None:
                return True
        for number, offset, length, arg in variant.other:
            calendar = self.other[number]
            begin = max(fixed.start + offset, self.now)
            end = fixed.start + offset + length
            if begin >= end or length >= OPEN or isinstance(calendar, Level):
                continue
            if calendar.conflict(begin, end, arg) is not None:
                return True
        return False

    def advance(self, now: int) -> None:
        """Move the present: nothing is placed before it any more."""
        self.now = now
        for unit in self.units:
            if unit.release < now:
                unit.release = now
        for calendar in self.unary:
            calendar.prune(now)
        for other in self.other:
            if isinstance(other, Profile):
                other.prune(now)

    def _unpin(self, unit: Unit) -> None:
        for hold in (*unit.closes, *unit.opens):
            self._shrink(hold)
        start = self.start[unit.index]
        variant = unit.variants[0]
        for number, offset, length in variant.unary:
            self.unary[number].remove_loose(start + offset, start + offset + length)
        for number, offset, length, arg in variant.other:
            if unit.index in self.pinned_now or isinstance(self.other[number], Level):
                self.other[number].remove(start + offset, start + offset + length, arg)
        self.pinned_now.discard(unit.index)
        self.start[unit.index] = UNPLACED
