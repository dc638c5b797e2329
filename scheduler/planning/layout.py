"""How a problem becomes calendars and units: the static half of the masking table.

Each device, resource, setting and stock gets the calendar that its rules need; each job becomes rigid units
whose variants say which calendar they occupy when, and the lags and holds between the units.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from scheduler.planning.calendars import ALWAYS, NEVER, Calendar, Intervals, Level, Profile
from scheduler.planning.families import Families, Run, Values
from scheduler.planning.network import job_lags, shortest_duration
from scheduler.planning.problem import Device, Job, Lag, Problem, Step
from scheduler.planning.units import (
    Atom,
    HoldLink,
    Unit,
    Variant,
    group_rigid,
    hold_base,
    link,
    make_variants,
    pinned_variant,
    placing_order,
    pull_front,
)

SHARED = 1 << 30
"""Units of a device on which steps may keep still together: *use* takes them all, *still* one."""

OPEN = NEVER
"""Length of a hold that has begun and whose end has no place yet."""

UNPLACED = ALWAYS
"""The start of a unit that has no place."""


class Layout:
    """Calendars and units of a problem, nothing placed yet; see `scheduler.planning.table.MaskingTable`."""

    def __init__(self, problem: Problem, *, module_locks: bool = False) -> None:
        self.problem = problem
        self.now = problem.now
        self.module_locks = module_locks
        self.unary: list[Intervals] = []
        self.other: list[Any] = []
        self.units: list[Unit] = []
        self.start: list[int] = []
        self.chosen: list[int] = []
        self.holds: list[HoldLink] = []
        self.unit_of: dict[str, int] = {}
        self.job_units: dict[str, list[int]] = {}
        self.jobs: dict[str, Job] = {}
        self.all_units: dict[str, list[int]] = {}
        self.free_numbers: list[int] = []
        self._bases: dict[str, tuple[Job, dict[tuple[str, str], int]]] = {}
        self._device = {device.id: device for device in problem.devices}
        self._unary_of: dict[str, int] = {}
        self._other_of: dict[tuple[str, str], int] = {}
        self._stills = {use.device for step in problem.steps() for mode in step.modes for use in mode.uses if use.still}
        self._fixed = {fixed.step: fixed for fixed in problem.fixed}
        self._calendars()
        for job in problem.jobs:
            self.add_job(job)
        for lag in problem.lags:
            self._link(lag)

    # --- calendars

    def _calendars(self) -> None:
        for device in self.problem.devices:
            setups = {(setup.before, setup.after): setup.duration for setup in device.setups}
            if device.batch > 1 or (setups and device.id not in self._stills):
                runs = Families(setups, device.batch, device.state, self.now)
                self._other_of["device", device.id] = self._add(runs)
                for blocked in device.blocked:
                    runs.closed.add(blocked.start, blocked.end)
            elif device.id in self._stills:
                shared = Profile(SHARED)
                self._other_of["device", device.id] = self._add(shared)
                for blocked in device.blocked:
                    shared.add(blocked.start, blocked.end, SHARED)
            else:
                self._unary_of[device.id] = len(self.unary)
                calendar = Intervals(self.now)
                self.unary.append(calendar)
                for blocked in device.blocked:
                    if blocked.end > blocked.start:
                        calendar.add_loose(blocked.start, blocked.end)
        for resource in self.problem.resources:
            profile = Profile(resource.capacity)
            self._other_of["resource", resource.id] = self._add(profile)
            for outage in resource.outages:
                profile.add(outage.start, outage.end, outage.quantity)
        for stock in self.problem.stocks:
            level = Level(stock.level, stock.minimum)
            self._other_of["stock", stock.id] = self._add(level)
            for refill in stock.refills:
                level.add(refill.time, refill.time, -refill.quantity)

    def _add(self, calendar: Calendar) -> int:
        self.other.append(calendar)
        return len(self.other) - 1

    def _setting(self, device: str) -> int:
        key = ("setting", device)
        if key not in self._other_of:
            owner = self._device.get(device, Device(device))
            setups = {(setup.before, setup.after): setup.duration for setup in owner.setups}
            self._other_of[key] = self._add(Values(setups, owner.state, self.now))
        return self._other_of[key]

    def _module(self, module: str) -> int:
        key = f"module {module}"
        if key not in self._unary_of:
            self._unary_of[key] = len(self.unary)
            self.unary.append(Intervals(self.now))
        return self._unary_of[key]

    def _device_atom(self, device: str, still: bool, length: int, run: Run) -> Atom:
        """Return what occupying a device means; unary calendars are marked with a negative number."""
        if device in self._unary_of:
            return (~self._unary_of[device], 0, length, None)
        calendar = self._other_of["device", device]
        if isinstance(self.other[calendar], Families):
            return (calendar, 0, length, run)
        return (calendar, 0, length, 1 if still else SHARED)

    def _atoms(self, step: Step, mode_index: int, length: int, covered: set[tuple[str, str]]) -> list[Atom]:
        mode = step.modes[mode_index]
        run = Run(step.family, step.batch, step.batch_size)
        atoms = []
        if length:
            for use in mode.uses:
                if (use.device, step.id) not in covered:
                    atoms.append(self._device_atom(use.device, use.still, length, run))
            for demand in mode.demands:
                if demand.quantity:
                    atoms.append((self._other_of["resource", demand.resource], 0, length, demand.quantity))
        for draw in step.draws:
            if draw.quantity:
                atoms.append((self._other_of["stock", draw.stock], 0, length, draw.quantity))
        return atoms

    # --- jobs become units

    def add_job(self, job: Job) -> list[int]:
        """Make a job known without placing it; return its units in placing order."""
        lags = job_lags(job)
        steps = list(job.steps())
        free = [step for step in steps if step.id not in self._fixed]
        covered = self._covered(job)
        made: list[Unit] = []

        def atoms_of(step: Step, mode: int) -> list[Atom]:
            return self._atoms(step, mode, step.modes[mode].duration, covered)

        for step in steps:
            if step.id in self._fixed:
                fixed = self._fixed[step.id]
                atoms = self._atoms(step, fixed.mode, fixed.end - fixed.start, covered)
                made.append(self._unit(job, [step], [pinned_variant(fixed, atoms)], fixed.start))
        for group, ties in group_rigid(free, lags):
            made.append(self._unit(job, group, make_variants(group, ties, atoms_of)))
        for lag in lags:
            self._link(lag)
        self._link_holds(job, lags)
        for unit in made:
            for variant in unit.variants:
                self._finish(variant)
            if unit.pinned is None and len(unit.steps) > 1:
                unit.variants = [variant for variant in unit.variants if self._possible(variant)]
        order = placing_order([unit for unit in made if unit.pinned is None])
        for unit in made:
            # A hold that is open must be closed: what closes it goes first.
            for hold in unit.closes:
                if unit.pinned is None and self.units[hold.first].pinned is not None:
                    order = pull_front(self.units, order, unit.index)
        self.job_units[job.id] = order
        self.all_units[job.id] = [unit.index for unit in made]
        self.jobs[job.id] = job
        return order

    def _unit(self, job: Job, steps: list[Step], variants: list[Variant], pinned: int | None = None) -> Unit:
        release = self.now
        if pinned is None:
            wanted = [
                max(job.release, step.earliest) - at
                for variant in variants
                for step, at in zip(steps, variant.offsets, strict=True)
            ]
            release = max(wanted, default=0)
            release = max(release, self.now)
        names = tuple(step.id for step in steps)
        if self.free_numbers:
            number = self.free_numbers.pop()
            self.start[number], self.chosen[number] = UNPLACED, 0
            unit = Unit(number, job.id, names, variants, release, job.deadline, pinned)
            self.units[number] = unit
        else:
            unit = Unit(len(self.units), job.id, names, variants, release, job.deadline, pinned)
            self.units.append(unit)
            self.start.append(UNPLACED)
            self.chosen.append(0)
        for name in names:
            self.unit_of[name] = unit.index
        return unit

    def _covered(self, job: Job) -> set[tuple[str, str]]:
        """Return (device, step) pairs whose use is part of a hold on the device."""
        covered = set()
        for hold in job.holds:
            if hold.resource in self._device:
                for task in job.tasks:
                    names = [step.id for step in task.steps]
                    if hold.first in names:
                        for name in names[names.index(hold.first) : names.index(hold.last) + 1]:
                            covered.add((hold.resource, name))
        return covered

    def _link(self, lag: Lag) -> None:
        one, two = self.unit_of.get(lag.first), self.unit_of.get(lag.second)
        if one is None or two is None:
            return
        first, second = self.units[one], self.units[two]
        if first.pinned is not None and second.pinned is not None:
            return
        if one == two:
            first.variants = [v for v in first.variants if _keeps(first, v, lag)]
        else:
            link(lag, first, second)

    def _link_holds(self, job: Job, lags: list[Lag]) -> None:
        links: list[tuple[Atom, str, str]] = []
        for hold in job.holds:
            if hold.resource in self._device:
                atom = self._device_atom(hold.resource, False, 0, Run())
                links.append((atom, hold.first, hold.last))
            elif hold.quantity:
                links.append(((self._other_of["resource", hold.resource], 0, 0, hold.quantity), hold.first, hold.last))
        for setting in job.settings:
            links.append(((self._setting(setting.device), 0, 0, setting.value), setting.first, setting.last))
        if self.module_locks:
            for task in job.tasks:
                links.append(((~self._module(task.module), 0, 0, None), task.steps[0].id, task.steps[-1].id))
        if not links:
            return
        known = self._bases.get(job.id)
        if known is None or known[0] is not job:
            # Worth keeping: a job is made anew whenever one of its steps starts or ends.
            known = self._bases[job.id] = (job, {})
        bases = known[1]
        shortest = {step.id: shortest_duration(step) for step in job.steps()}
        longest = {step.id: max(mode.duration for mode in step.modes) for step in job.steps()}
        for atom, first, last in links:
            one, two = self.units[self.unit_of[first]], self.units[self.unit_of[last]]
            begin, end = one.steps.index(first), two.steps.index(last)
            if one is two:
                for variant in one.variants:
                    length = variant.offsets[end] + variant.durations[end] - variant.offsets[begin]
                    if length > 0:
                        variant.other += ((atom[0], variant.offsets[begin], length, atom[3]),)
                continue
            if (first, last) not in bases:
                bases[first, last] = hold_base(first, last, lags, shortest, longest)
            base = bases[first, last]
            if one.pinned is not None:
                base = max(base, self.now - one.pinned, one.variants[0].durations[0])
                if atom[0] >= 0 and isinstance(self.other[atom[0]], Profile) and two.pinned is None:
                    # It is open: nobody else gets it until it is known when it is closed.
                    base = OPEN
            base = max(base, 1)
            kept_hold = HoldLink(atom[0], atom[3], one.index, begin, two.index, end, base)
            self.holds.append(kept_hold)
            one.opens.append(kept_hold)
            two.closes.append(kept_hold)
            for variant in one.variants:
                variant.other += ((atom[0], variant.offsets[begin], base, atom[3]),)

    def _finish(self, variant: Variant) -> None:
        """Sort a variant's atoms by kind and merge demands that overlap on one resource."""
        unary = [(~number, at, length) for number, at, length, _ in variant.other if number < 0]
        rest = [atom for atom in variant.other if atom[0] >= 0]
        demands: dict[int, list[Atom]] = {}
        draws: dict[int, Atom] = {}
        kept = []
        for atom in rest:
            if isinstance(self.other[atom[0]], Profile):
                demands.setdefault(atom[0], []).append(atom)
            elif isinstance(self.other[atom[0]], Level) and atom[3] > 0:
                # All that a rigid piece draws is drawn at its first draw: simple, and never too late.
                number, at, length, total = draws.get(atom[0], (atom[0], atom[1], 0, 0))
                draws[number] = (number, min(at, atom[1]), length, total + atom[3])
            else:
                kept.append(atom)
        for number, atoms in demands.items():
            kept.extend(_merge(number, atoms))
        kept.extend(draws.values())
        variant.unary = tuple(sorted(unary, key=lambda atom: -atom[2]))
        variant.other = tuple(kept)

    def _possible(self, variant: Variant) -> bool:
        """Whether a variant does not collide with itself."""
        last: dict[int, int] = {}
        for number, offset, length in sorted(variant.unary, key=lambda atom: atom[1]):
            if offset < last.get(number, -1):
                return False
            last[number] = offset + length
        runs: dict[int, Atom] = {}
        for atom in sorted(variant.other, key=lambda atom: atom[1]):
            calendar = self.other[atom[0]]
            if isinstance(calendar, Families):
                before = runs.get(atom[0])
                if before is not None:
                    setup = calendar.setups.get((before[3].family, atom[3].family), 0)
                    if atom[1] < before[1] + before[2] + setup:
                        return False
                runs[atom[0]] = atom
        return True


def _keeps(unit: Unit, variant: Variant, lag: Lag) -> bool:
    """Whether a variant keeps a lag between two of its own steps."""
    one, two = unit.steps.index(lag.first), unit.steps.index(lag.second)
    between = variant.offsets[two] + (variant.durations[two] if lag.second_point == "end" else 0)
    between -= variant.offsets[one] + (variant.durations[one] if lag.first_point == "end" else 0)
    if lag.min is not None and between < lag.min:
        return False
    return lag.max is None or lag.cost is not None or between <= lag.max


def _merge(number: int, atoms: list[Atom]) -> list[Atom]:
    """Turn overlapping demands on one profile into stretches that do not overlap."""
    if len(atoms) == 1:
        return atoms
    points = sorted({at for _, offset, length, _ in atoms for at in (offset, offset + length)})
    merged = []
    for begin, end in pairwise(points):
        total = sum(arg for _, offset, length, arg in atoms if offset <= begin and end <= offset + length)
        if total:
            merged.append((number, begin, end - begin, total))
    return merged
