"""From steps to units: the rigid pieces that the masking table places.

Steps whose distance is fixed (blocks, and gaps with equal minimum and maximum) form one unit, which fits or
does not fit as a whole. A unit has one variant for each combination of its steps' modes; a variant is a list
of atoms
``(calendar, offset, length, arg)`` relative to the unit's start. Lags between units become tables of
differences by variant, so that placing needs only additions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from scheduler.planning.problem import Fixed, Lag, Step

MOST_VARIANTS = 64
Atom = tuple[int, int, int, Any]
Differences = tuple[tuple[int, ...], ...]


@dataclass(slots=True)
class Variant:
    """One combination of modes of a unit's steps. Offsets and durations in ticks, by position in the unit."""

    modes: tuple[int, ...]
    offsets: tuple[int, ...]
    durations: tuple[int, ...]
    span: int
    unary: tuple[tuple[int, int, int], ...] = ()
    other: tuple[Atom, ...] = ()


@dataclass(slots=True)
class HoldLink:
    """A hold between units: `base` is the length that is reserved as soon as its first unit is placed."""

    calendar: int
    arg: Any
    first: int
    first_step: int
    last: int
    last_step: int
    base: int
    until: int | None = None


@dataclass(slots=True)
class Unit:
    """A rigid piece of a job. `lo` and `hi` bound its start by the starts of other units."""

    index: int
    job: str
    steps: tuple[str, ...]
    variants: list[Variant]
    release: int = 0
    deadline: int | None = None
    pinned: int | None = None
    lo: list[tuple[int, Differences]] = field(default_factory=list)
    hi: list[tuple[int, Differences, int | None]] = field(default_factory=list)
    opens: list[HoldLink] = field(default_factory=list)
    closes: list[HoldLink] = field(default_factory=list)


def group_rigid(steps: Sequence[Step], lags: Iterable[Lag]) -> list[tuple[list[Step], list[Lag]]]:
    """Group steps at fixed distances, with the lags that fix them; in order of their first step.

    A group whose modes have more than `MOST_VARIANTS` combinations is left apart: its lags then bind like
    others.
    """
    parent = {step.id: step.id for step in steps}
    count = {step.id: len(step.modes) for step in steps}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    ties = []
    for lag in lags:
        if lag.min is None or lag.min != lag.max or lag.cost is not None:
            continue
        if lag.first not in parent or lag.second not in parent:
            continue
        one, two = root(lag.first), root(lag.second)
        if one != two and count[one] * count[two] > MOST_VARIANTS:
            continue
        ties.append(lag)
        if one != two:
            parent[two] = one
            count[one] *= count[two]
    groups: dict[str, tuple[list[Step], list[Lag]]] = {}
    for step in steps:
        groups.setdefault(root(step.id), ([], []))[0].append(step)
    for lag in ties:
        groups[root(lag.first)][1].append(lag)
    return list(groups.values())


def make_variants(steps: list[Step], ties: list[Lag], atoms_of: Callable[[Step, int], list[Atom]]) -> list[Variant]:
    """Return one variant for each consistent combination of modes.

    Parameters
    ----------
    steps, ties
        A group from `group_rigid`.
    atoms_of
        Gives what a step in a mode occupies: atoms relative to the start of the step.
    """
    position = {step.id: i for i, step in enumerate(steps)}
    variants = []
    for modes in product(*(range(len(step.modes)) for step in steps)):
        durations = tuple(step.modes[mode].duration for step, mode in zip(steps, modes, strict=True))
        offsets = _offsets(position, ties, durations)
        if offsets is None:
            continue
        atoms = [
            (calendar, offset + at, length, arg)
            for step, mode, offset in zip(steps, modes, offsets, strict=True)
            for calendar, at, length, arg in atoms_of(step, mode)
        ]
        span = max(offset + duration for offset, duration in zip(offsets, durations, strict=True))
        variants.append(Variant(modes, offsets, durations, span, other=tuple(atoms)))
    return variants


def _offsets(position: dict[str, int], ties: list[Lag], durations: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the start of each step relative to the earliest, or `None` if the ties contradict each other."""
    if not ties:
        return (0,) * len(position)
    near: dict[int, list[tuple[int, int]]] = {i: [] for i in position.values()}
    for lag in ties:
        one, two = position[lag.first], position[lag.second]
        away = (lag.min or 0) + (durations[one] if lag.first_point == "end" else 0)
        away -= durations[two] if lag.second_point == "end" else 0
        near[one].append((two, away))
        near[two].append((one, -away))
    offset = {0: 0}
    stack = [0]
    while stack:
        at = stack.pop()
        for other, away in near[at]:
            if other not in offset:
                offset[other] = offset[at] + away
                stack.append(other)
            elif offset[other] != offset[at] + away:
                return None
    least = min(offset.values())
    return tuple(offset[i] - least for i in range(len(position)))


def pinned_variant(fixed: Fixed, atoms: list[Atom]) -> Variant:
    """Return the only variant of a step that stands where it stands."""
    duration = fixed.end - fixed.start
    return Variant((fixed.mode,), (0,), (duration,), duration, other=tuple(atoms))


def points(unit: Unit, step: str, at_end: bool) -> tuple[int, ...]:
    """Return the distance of a step's start or end from the unit's start, by variant."""
    i = unit.steps.index(step)
    return tuple(v.offsets[i] + (v.durations[i] if at_end else 0) for v in unit.variants)


def link(lag: Lag, one: Unit, two: Unit) -> None:
    """Add a lag between two units to the bounds of both."""
    first, second = (
        points(one, lag.first, lag.first_point == "end"),
        points(two, lag.second, lag.second_point == "end"),
    )
    if lag.min is not None:
        two.lo.append((one.index, tuple(tuple(p + lag.min - q for q in second) for p in first)))
        one.hi.append((two.index, tuple(tuple(q - lag.min - p for p in first) for q in second), None))
    if lag.max is not None:
        two.hi.append((one.index, tuple(tuple(p + lag.max - q for q in second) for p in first), lag.cost))
        one.lo.append((two.index, tuple(tuple(q - lag.max - p for p in first) for q in second)))


def placing_order(units: Sequence[Unit]) -> list[int]:
    """Order units so that predecessors come first, and what a window ties to placed ones as soon as possible.

    Otherwise the order of the file is kept.
    """
    own = {unit.index for unit in units}
    before: dict[int, set[int]] = {index: set() for index in own}
    after: dict[int, list[int]] = {index: [] for index in own}
    tied: dict[int, set[int]] = {index: set() for index in own}
    for unit in units:
        for other, table in unit.lo:
            least = min(map(min, table))
            if other in own and other != unit.index and (least > 0 or (least == 0 and other < unit.index)):
                before[unit.index].add(other)
        for other, _, _ in unit.hi:
            if other in own:
                tied[unit.index].add(other)
    for index, others in before.items():
        for other in others:
            after[other].append(index)
    ready = {index for index in own if not before[index]}
    order: list[int] = []
    placed: set[int] = set()
    left = {index: len(others) for index, others in before.items()}
    last = -1
    while len(order) < len(own):
        if not ready:
            ready = {min(index for index in own if index not in placed)}
        index = min(ready, key=lambda i: (last not in tied[i], not tied[i] & placed, i))
        ready.discard(index)
        placed.add(index)
        order.append(index)
        last = index
        for other in after[index]:
            left[other] -= 1
            if left[other] == 0 and other not in placed:
                ready.add(other)
    return order


def pull_front(units: Sequence[Unit], order: list[int], index: int) -> list[int]:
    """Return the order with one unit and all its predecessors first."""
    wanted = {index}
    front = []
    for at in reversed(order[: order.index(index) + 1]):
        if at in wanted:
            front.append(at)
            wanted.update(other for other, table in units[at].lo if max(map(max, table)) >= 0)
    front.reverse()
    chosen = set(front)
    return front + [other for other in order if other not in chosen]


def hold_base(first: str, last: str, lags: Iterable[Lag], shortest: dict[str, int], longest: dict[str, int]) -> int:
    """Return the least length in ticks of a hold: the longest path from `first` to `last`."""
    if first == last:
        return shortest[first]
    out: dict[str, list[tuple[str, int]]] = {}
    for lag in lags:
        if lag.min is None or lag.first not in shortest or lag.second not in shortest:
            continue
        length = lag.min + (shortest[lag.first] if lag.first_point == "end" else 0)
        length -= longest[lag.second] if lag.second_point == "end" else 0
        if length >= 0:
            out.setdefault(lag.first, []).append((lag.second, length))
    far = {first: 0}
    queue, rounds = [first], 0
    while queue and rounds < 20 * len(shortest):
        rounds += 1
        at = queue.pop(0)
        for other, length in out.get(at, ()):
            if far[at] + length > far.get(other, -1):
                far[other] = far[at] + length
                queue.append(other)
    return max(far.get(last, 0) + shortest[last], shortest[first])
