"""When will jobs start and finish? Ranges that hold, from the plan and from what durations have been like.

Each step gets a handful of equally likely ends. A step begins when its predecessors (of its own job, on its devices, or
whoever gives it a place) are over, as it is in the lab, where the plan's order counts and not its clock; so late and
early steps push and pull what follows. Samples are stratified and tied to the step's name: the same plan gives the same
forecast, and one step more costs some tens of microseconds.

What this leaves out (others come, plans change) is the matter of :mod:`scheduler.planning.calibration`.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from zlib import crc32

from scheduler.planning.calibration import Calibration, unsure
from scheduler.planning.durations import DurationModel, Range, student
from scheduler.planning.plan import Plan
from scheduler.planning.problem import Problem, all_lags

SAMPLES = 50
ORDERS = 211

Samples = list[float]


def _orders() -> list[list[int]]:
    rng = random.Random(7)
    found = []
    for _ in range(ORDERS):
        order = list(range(SAMPLES))
        rng.shuffle(order)
        found.append(order)
    return found


_NORMAL = [NormalDist().inv_cdf((i + 0.5) / SAMPLES) for i in range(SAMPLES)]
_ORDERS = _orders()


@dataclass(frozen=True, slots=True)
class Item:
    """A step of a plan, in any one unit of time.

    Attributes
    ----------
    name, start, end
        As planned.
    length
        How long it was said to take; times the factor of its `kind`. Without a kind it takes just that long.
    devices
        Device, and whether it only keeps it still.
    after
        (Step, least time between, from its end, to our end).
    began, ended
        When it began and ended, if it did.
    floor
        It starts no earlier, whatever happens.
    """

    name: str
    start: float
    end: float
    length: float
    kind: str = ""
    devices: Sequence[tuple[str, bool]] = ()
    after: Sequence[tuple[str, float, bool, bool]] = ()
    began: float | None = None
    ended: float | None = None
    floor: float | None = None


class Forecast:
    """What may become of a plan. Add its steps in the order of their planned starts; later ones may follow.

    Parameters
    ----------
    model
        What was learnt of durations.
    now
        Nothing starts, and nothing that runs ends, before.
    """

    def __init__(self, model: DurationModel, now: float = 0.0) -> None:
        self.model = model
        self.now = now
        self.starts: dict[str, Samples] = {}
        self.ends: dict[str, Samples] = {}
        self._planned: dict[str, tuple[float, float]] = {}
        self._lines: dict[str, list[tuple[float, str, bool]]] = defaultdict(list)
        self._ending: dict[float, list[str]] = defaultdict(list)
        self._factors: dict[str, tuple[Samples, Samples]] = {}

    def add(self, item: Item) -> None:
        """Find out when a step may start and end."""
        self._planned[item.name] = item.start, item.end
        if item.ended is not None:
            self.starts[item.name] = [item.began if item.began is not None else item.ended] * SAMPLES
            self.ends[item.name] = [item.ended] * SAMPLES
        elif item.began is not None:
            self.starts[item.name] = [item.began] * SAMPLES
            self.ends[item.name] = self._rest(item, item.began)
        else:
            lengths = self._lengths(item)
            begin = self._begin(item)
            self.starts[item.name] = begin
            self.ends[item.name] = [a + b for a, b in zip(begin, lengths, strict=True)]
        for device, still in item.devices:
            insort(self._lines[device], (item.start, item.name, still))
        self._ending[round(item.end, 2)].append(item.name)

    def span(self, names: Iterable[str]) -> tuple[Range, Range] | None:
        """Return the ranges of the first start and the last end of some steps, or None if none of them is known."""
        first: Samples | None = None
        last: Samples | None = None
        for name in names:
            begin, end = self.starts.get(name), self.ends.get(name)
            if begin is None or end is None:
                continue
            first = begin if first is None else list(map(min, first, begin))
            last = end if last is None else list(map(max, last, end))
        return None if first is None or last is None else (range_of(first), range_of(last))

    # --- one step

    def _lengths(self, item: Item) -> Samples:
        if not item.kind or item.length <= 0:
            return [max(0.0, item.length)] * SAMPLES
        shared, own = self._factor(item.kind)
        length = item.length
        return [length * shared[i] * own[k] for i, k in enumerate(_order(item.name))]

    def _factor(self, kind: str) -> tuple[Samples, Samples]:
        kind = self.model.seen(kind)
        found = self._factors.get(kind)
        if found is None:
            factor = self.model.factor(kind)
            tails = [student(z, factor.freedom) for z in _NORMAL]
            shared = [math.exp(factor.mean + factor.error * tails[k]) for k in _order(kind)]
            found = self._factors[kind] = (shared, [math.exp(factor.sigma * z) for z in tails])
        return found

    def _rest(self, item: Item, began: float) -> Samples:
        """Return the possible ends of a step that runs: of all its lengths, those that are not over yet."""
        gone = self.now - began
        left = sorted(length for length in self._lengths(item) if length > gone)
        if not left:
            # Longer than ever seen: it may take as long again as it is late already.
            late = max(gone - item.length, 0.05 * item.length)
            left = [gone + late * (i + 0.5) / 4 for i in range(4)]
        count = len(left)
        return [began + left[k * count // SAMPLES] for k in _order(item.name)]

    def _begin(self, item: Item) -> Samples:
        length = item.end - item.start
        floor = self.now if item.floor is None else max(self.now, item.floor)
        begin = [floor] * SAMPLES
        explained = floor
        for name, away, from_end, to_end in item.after:
            bound = (self.ends if from_end else self.starts).get(name)
            if bound is None:
                continue
            away -= length if to_end else 0.0
            begin = list(map(max, begin, [at + away for at in bound] if away else bound))
            explained = max(explained, self._planned[name][from_end] + away)
        for name in self._before(item):
            begin = list(map(max, begin, self.ends[name]))
            explained = max(explained, self._planned[name][1])
        if explained < item.start - 0.1:
            # Something else lets it start only then: whoever gives a place back at that moment, or the clock.
            others = [name for name in self._ending.get(round(item.start, 2), ()) if name in self.ends]
            for name in others:
                begin = list(map(max, begin, self.ends[name]))
            if not others:
                begin = [max(at, item.start) for at in begin]
        return begin

    def _before(self, item: Item) -> set[str]:
        """Return the steps that the plan puts before this one on its devices."""
        found: set[str] = set()
        for device, still in item.devices:
            line = self._lines[device]
            at = bisect_left(line, (item.start, item.name, False))
            while at:
                at -= 1
                _, other, shared = line[at]
                if not (still and shared):
                    found.add(other)
                if not shared:
                    break
        return {name for name in found if self._planned[name][1] <= item.start + 0.1}


def _order(name: str) -> list[int]:
    number = crc32(name.encode())
    order, turn = _ORDERS[number % ORDERS], number // ORDERS % SAMPLES
    return order[turn:] + order[:turn]


def range_of(samples: Samples) -> Range:
    """Return the 80 % range of equally likely values."""
    rows = sorted(samples)
    return Range(_at(rows, 0.1), _at(rows, 0.5), _at(rows, 0.9))


def _at(rows: Samples, share: float) -> float:
    place = share * len(rows) - 0.5
    low = max(0, math.floor(place))
    high = min(len(rows) - 1, low + 1)
    return rows[low] + (rows[high] - rows[low]) * min(1.0, max(0.0, place - low))


def forecast(
    problem: Problem,
    plan: Plan,
    model: DurationModel,
    kinds: Mapping[str, str],
    lengths: Mapping[str, float] | None = None,
) -> Forecast:
    """Return what may become of a plan, in ticks.

    Parameters
    ----------
    problem, plan
        The plan in force.
    model
        What was learnt.
    kinds
        Kind of each step that varies; steps without one (standby) last exactly as planned.
    lengths
        How long steps were said to take, where the problem holds learnt durations instead.
    """
    said = lengths or {}
    found = Forecast(model, float(problem.now))
    fixed = {item.step: item for item in problem.fixed}
    release = {step.id: max(job.release, step.earliest) for job in problem.jobs for step in job.steps()}
    after: dict[str, list[tuple[str, float, bool, bool]]] = defaultdict(list)
    for lag in all_lags(problem):
        if lag.min is not None:
            after[lag.second].append((lag.first, lag.min, lag.first_point == "end", lag.second_point == "end"))
    steps = [step for step in problem.steps() if step.id in plan.starts]
    steps.sort(key=lambda step: (plan.starts[step.id], plan.ends[step.id], step.id))
    for step in steps:
        mode = step.modes[plan.modes.get(step.id, 0)]
        item = fixed.get(step.id)
        found.add(
            Item(
                step.id,
                plan.starts[step.id],
                plan.ends[step.id],
                said.get(step.id, mode.duration),
                kinds.get(step.id, ""),
                tuple((use.device, use.still) for use in mode.uses),
                after.get(step.id, ()),
                began=None if item is None else item.start,
                ended=item.end if item is not None and item.state == "completed" else None,
                floor=release[step.id],
            )
        )
    return found


def predict_finishes(
    problem: Problem,
    plan: Plan,
    model: DurationModel,
    kinds: Mapping[str, str],
    *,
    lengths: Mapping[str, float] | None = None,
    calibrations: tuple[Calibration, Calibration] | None = None,
) -> dict[str, tuple[Range, Range]]:
    """Return 80 % ranges of start and finish of every job, in ticks; see `forecast` and `calibration.unsure`.

    Parameters
    ----------
    problem, plan, model, kinds, lengths
        See `forecast`.
    calibrations
        Of starts and of finishes, if past ranges were scored.
    """
    outlook, now, jobs = forecast(problem, plan, model, kinds, lengths), problem.now, len(problem.jobs)
    found = {}
    for job in problem.jobs:
        spans = outlook.span(step.id for step in job.steps())
        if spans is not None:
            start, finish = (unsure(span, now, jobs) for span in spans)
            if calibrations is not None:
                start, finish = calibrations[0].apply(start, now), calibrations[1].apply(finish, now)
            found[job.id] = start, finish
    return found
