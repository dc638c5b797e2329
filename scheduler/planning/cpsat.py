"""The problem as a CP-SAT model: exact, and restricted to some steps for large-neighbourhood search.

Encodings follow the OR-tools guide: fixed-size intervals on one start variable per step, optional intervals
on the *shared* start for alternative modes, ``no_overlap`` for devices, ``cumulative`` for resources, linear
inequalities for lags. What is fixed, or kept for a neighbourhood, enters as constants; where constants
overlap each other (a running step that is late) their union is blocked, since facts are not judged again.

Setup times are taken to satisfy the triangle inequality.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeVar

from ortools.sat.python import cp_model

from scheduler.planning.digest import Digest
from scheduler.planning.objective import STRETCH_LIMIT, TARDINESS_FACTOR, ObjectiveName
from scheduler.planning.plan import Plan
from scheduler.planning.policies.base import Spans
from scheduler.planning.problem import Device, Hold, Job, Lag, Resource, Step, Stock
from scheduler.planning.solver import Answer, Effort, Values, solve
from scheduler.planning.stretches import lowest, profile, union

T = TypeVar("T")
Expression = Any
"""A number, or a linear expression of CP-SAT."""


def _intervals(spans: Iterable[_Span]) -> list[cp_model.IntervalVar]:
    """Return the intervals of those that are not constant."""
    return [span.interval for span in spans if span.interval is not None]


@dataclass(slots=True)
class _Span:
    """Something that occupies a stretch of time; `interval` is None for a constant."""

    start: Expression
    end: Expression
    interval: cp_model.IntervalVar | None
    present: Expression = True
    quantity: int = 1
    family: str | None = None
    batch: str | None = None

    @property
    def constant(self) -> bool:
        return self.interval is None


class ScheduleModel:
    """A CP-SAT model of a problem.

    Parameters
    ----------
    digest
        The problem, digested.
    horizon
        No step ends later, in ticks.
    free
        Ids of the steps to decide; None for all that are not fixed. All others stand where `kept` has them.
    kept
        The plan that constants and hints come from.
    latest
        Latest end by job where it is earlier than the horizon.
    """

    def __init__(
        self,
        digest: Digest,
        horizon: int,
        free: Collection[str] | None = None,
        kept: Plan | None = None,
        *,
        latest: Mapping[str, int] | None = None,
        hint: bool = True,
    ) -> None:
        self.digest, self.problem, self.index = digest, digest.problem, digest.index
        self.horizon, self.kept, self.latest, self.hint = horizon, kept, latest or {}, hint
        self.cp = cp_model.CpModel()
        self.start: dict[str, Expression] = {}
        self.end: dict[str, Expression] = {}
        self.mode: dict[str, list[Expression]] = {}
        self._anchor: dict[str, tuple[str, int]] = {}
        self._decided = {
            step for step in self.index.step if step not in self.index.fixed and (free is None or step in free)
        }
        for step in self.index.step:
            if step in self._decided:
                self._decide(step)
            else:
                self._keep(step)
        touched = sorted({n for step in self._decided for n in self.digest.lags_of.get(step, ())})
        self.excess = [excess for n in touched for excess in self._lag(self.digest.lags[n])]
        self.kept_windows = self._kept_windows(set(touched))
        for job in self.problem.jobs:
            self._deadline(job)
        for device in self.problem.devices:
            self._device(device)
        for resource in self.problem.resources:
            self._resource(resource)
        self._settings()
        for stock in self.problem.stocks:
            self._stock(stock)

    # --- steps

    def _keep(self, name: str) -> None:
        fixed = self.index.fixed.get(name)
        if fixed is not None:
            self.start[name], self.end[name], chosen = fixed.start, fixed.end, fixed.mode
        elif self.kept is not None and name in self.kept.starts:
            self.start[name], self.end[name] = self.kept.starts[name], self.kept.ends[name]
            chosen = self.kept.modes.get(name, 0)
        else:
            raise ValueError(f"step {name} is neither free nor in the plan that is kept")
        self.mode[name] = [number == chosen for number in range(len(self.index.step[name].modes))]

    def _decide(self, name: str) -> None:
        step = self.index.step[name]
        before, away = self.digest.follows.get(name, ("", 0))
        if before in self._decided:
            self._follow(step, before, away)
            return
        self._anchor[name] = name, 0
        durations = [mode.duration for mode in step.modes]
        job = self.index.job_of[name]
        earliest = max(self.problem.now, job.release, step.earliest)
        horizon = self._horizon(name)
        latest = max(earliest, horizon - min(durations))
        start = self.cp.new_int_var(earliest, latest, f"s:{name}")
        self.start[name] = start
        if len(durations) == 1:
            self.mode[name] = [True]
            self.end[name] = start + durations[0]
        else:
            chosen = [self.cp.new_bool_var(f"m{number}:{name}") for number in range(len(durations))]
            self.cp.add_exactly_one(chosen)
            self.mode[name] = list(chosen)
            # A variable of its own, since the ends of intervals (holds) have to be affine.
            self.end[name] = self.cp.new_int_var(earliest, max(earliest, horizon), f"e:{name}")
            length = sum(duration * literal for duration, literal in zip(durations, chosen, strict=True))
            self.cp.add(self.end[name] == start + length)
        if self.hint and self.kept is not None and name in self.kept.starts:
            self.cp.add_hint(start, min(max(self.kept.starts[name], earliest), latest))
            if len(durations) > 1:
                for number, literal in enumerate(self.mode[name]):
                    self.cp.add_hint(literal, number == self.kept.modes.get(name, 0))

    def _follow(self, step: Step, before: str, away: int) -> None:
        """Let a step share the start of the one before it."""
        root, offset = self._anchor[before]
        self._anchor[step.id] = root, offset + away
        self.start[step.id] = self.start[root] + (offset + away)
        self.end[step.id] = self.start[root] + (offset + away + step.modes[0].duration)
        self.mode[step.id] = [True]
        self.cp.add(self.end[step.id] <= self._horizon(step.id))
        if step.earliest > self.problem.now:
            self.cp.add(self.start[step.id] >= step.earliest)

    def _horizon(self, name: str) -> int:
        return min(self.horizon, self.latest.get(self.index.job_of[name].id, self.horizon))

    def _point(self, step: str, point: str) -> Expression:
        return self.start[step] if point == "start" else self.end[step]

    def _gap(self, lag: Lag) -> Expression:
        """Return the time that a lag bounds: a number where both steps share one start."""
        one, two = self._anchor.get(lag.first), self._anchor.get(lag.second)
        if one is None or two is None or one[0] != two[0]:
            return self._point(lag.second, lag.second_point) - self._point(lag.first, lag.first_point)
        away = two[1] - one[1]
        away += self.index.step[lag.second].modes[0].duration if lag.second_point == "end" else 0
        return away - (self.index.step[lag.first].modes[0].duration if lag.first_point == "end" else 0)

    def _lag(self, lag: Lag) -> Iterator[tuple[Expression, int]]:
        """Add a lag; yield the excess variable and its cost if its maximum is soft."""
        gap = self._gap(lag)
        if isinstance(gap, int):
            if (lag.min is not None and gap < lag.min) or (lag.max is not None and lag.cost is None and gap > lag.max):
                self.cp.add_bool_or([])
            elif lag.max is not None and lag.cost is not None:
                yield max(0, gap - lag.max), lag.cost
            return
        if lag.min is not None:
            self.cp.add(gap >= lag.min)
        if lag.max is None:
            return
        if lag.cost is None:
            self.cp.add(gap <= lag.max)
        elif lag.cost > 0:
            excess = self.cp.new_int_var(0, 2 * self.horizon, "")
            self.cp.add(gap - excess <= lag.max)
            yield excess, lag.cost

    def _kept_windows(self, touched: set[int]) -> int:
        """Return what soft windows between constants cost."""
        total = 0
        for number, lag in enumerate(self.digest.lags):
            if number not in touched and lag.cost and lag.max is not None:
                gap = self._point(lag.second, lag.second_point) - self._point(lag.first, lag.first_point)
                total += max(0, gap - lag.max) * lag.cost
        return total

    def _deadline(self, job: Job) -> None:
        if job.deadline is not None:
            for step in job.steps():
                if step.id in self._decided:
                    self.cp.add(self.end[step.id] <= job.deadline)

    # --- devices

    def _runs(self, rows: Iterable[tuple[str, int, T]], *, whole: bool = True) -> Iterator[tuple[str, int, T, int]]:
        """Yield (first step, mode, kind, length) of steps of one kind that follow each other without a gap."""
        last: tuple[str, int, T, int] | None = None
        for name, number, kind in rows:
            duration = self.index.step[name].modes[number].duration
            if last is not None and whole and kind == last[2] and self._adjoins(last[0], last[3], name):
                last = (*last[:3], last[3] + duration)
                continue
            if last is not None:
                yield last
            last = name, number, kind, duration
        if last is not None:
            yield last

    def _adjoins(self, first: str, length: int, name: str) -> bool:
        one, two = self._anchor.get(first), self._anchor.get(name)
        return one is not None and two is not None and one[0] == two[0] != name and one[1] + length == two[1]

    def _span(self, name: str, number: int, quantity: int, duration: int) -> _Span | None:
        """Return what steps from `name` on occupy in a mode; None if nothing, or it is not in that mode."""
        step = self.index.step[name]
        present = self.mode[name][number]
        if present is False:
            return None
        start, end = self.start[name], self.end[name]
        if name not in self._decided:
            return _Span(start, end, None, True, quantity, step.family, step.batch) if end > start else None
        if duration == 0:
            return None
        if present is True:
            interval = self.cp.new_fixed_size_interval_var(start, duration, "")
        else:
            interval = self.cp.new_optional_fixed_size_interval_var(start, duration, present, "")
        return _Span(start, start + duration, interval, present, quantity, step.family, step.batch)

    def _hold_span(self, hold: Hold) -> _Span:
        start, end = self.start[hold.first], self.end[hold.last]
        if isinstance(start, int):
            # What has been is a fact: only the rest of the hold can still be in anybody's way.
            start = max(start, self.problem.now)
        if hold.first not in self._decided and hold.last not in self._decided:
            return _Span(start, max(start, end), None, True, hold.quantity)
        size = self.cp.new_int_var(0, 2 * self.horizon, "")
        self.cp.add(size == end - start)
        return _Span(start, end, self.cp.new_interval_var(start, size, end, ""), True, hold.quantity)

    def _device(self, device: Device) -> None:
        if device.id in self.digest.idle:
            return
        uses = [self._hold_span(hold) for hold in self.digest.holds.get(device.id, ())]
        stills: list[_Span] = []
        whole = device.batch == 1 and not device.setups
        rows = [(name, number, use.still) for name, number, use in self.digest.uses.get(device.id, ())]
        for name, number, still, length in self._runs(rows, whole=whole):
            span = self._span(name, number, self.index.step[name].batch_size, length)
            if span is not None:
                (stills if still else uses).append(span)
        if all(span.constant for span in (*uses, *stills)):
            return
        if device.batch > 1:
            self._batch_device(device, uses)
        else:
            self._unary_device(device, uses, stills)
        if device.setups:
            self._setups(device, uses)

    def _unary_device(self, device: Device, uses: list[_Span], stills: list[_Span]) -> None:
        blocked = [(b.start, b.end) for b in device.blocked]
        busy = self._union(blocked + [(s.start, s.end) for s in uses if s.constant])
        quiet = self._union([(s.start, s.end) for s in stills if s.constant])
        free_uses = _intervals(uses)
        free_stills = _intervals(stills)
        if free_uses:
            walls = [self._wall(*part) for part in self._union(busy + quiet)]
            self.cp.add_no_overlap([*free_uses, *walls])
        if free_stills:
            capacity = len(free_stills)
            walls = [self._wall(*part) for part in busy]
            self.cp.add_cumulative(
                [*free_stills, *free_uses, *walls],
                [1] * len(free_stills) + [capacity] * (len(free_uses) + len(walls)),
                capacity,
            )

    def _union(self, parts: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return disjoint, sorted stretches that cover the same time from now on."""
        now = self.problem.now
        return union((max(start, now), end) for start, end in parts)

    def _batch_device(self, device: Device, uses: list[_Span]) -> None:
        """Steps of one batch key start together, up to the limit in size, or follow each other."""
        walls = [(b.start, b.end) for b in device.blocked]
        free = [s for s in uses if not s.constant]
        self.cp.add_cumulative(
            _intervals(free) + [self._wall(*part) for part in self._union(walls)],
            [s.quantity for s in free] + [device.batch] * len(self._union(walls)),
            device.batch,
        )
        sizes: dict[tuple[int, int, str | None], int] = defaultdict(int)
        for span in uses:
            if span.constant:
                sizes[span.start, span.end, span.batch] += span.quantity
        for span in free:
            for (start, end, key), size in sizes.items():
                run = _Span(start, end, None, batch=key, quantity=size)
                self._apart(span, run, together=key is not None and size + span.quantity <= device.batch)
        for (start, end, key), size in sizes.items():
            together = [s for s in free if s.batch == key and key is not None]
            if together and size < device.batch:
                wall = self._wall(start, end)
                self.cp.add_cumulative(
                    [*_intervals(together), wall],
                    [s.quantity for s in together] + [size],
                    device.batch,
                )
        for one, two in combinations(free, 2):
            self._apart(one, two, together=one.batch is not None)

    def _apart(self, one: _Span, two: _Span, *, together: bool, need: int = 0, need_back: int = 0) -> None:
        """Order two spans, or start them together where they belong to the same batch."""
        first, second = self.cp.new_bool_var(""), self.cp.new_bool_var("")
        self.cp.add(two.start >= one.end + need).only_enforce_if(first)
        self.cp.add(one.start >= two.end + need_back).only_enforce_if(second)
        choices = [first, second]
        if together and one.batch == two.batch:
            same = self.cp.new_bool_var("")
            self.cp.add(one.start == two.start).only_enforce_if(same)
            self.cp.add(one.end == two.end).only_enforce_if(same)
            choices.append(same)
        absent = [span.present.negated() for span in (one, two) if span.present is not True]
        self.cp.add_bool_or([*choices, *absent])

    def _setups(self, device: Device, uses: list[_Span]) -> None:
        need = {(setup.before, setup.after): setup.duration for setup in device.setups}
        spans = [s for s in uses if s.family is not None]
        for one, two in combinations(spans, 2):
            if one.constant and two.constant:
                continue
            there = need.get((str(one.family), str(two.family)), 0)
            back = need.get((str(two.family), str(one.family)), 0)
            if there or back:
                self._apart(one, two, together=False, need=there, need_back=back)
        for span in spans:
            wait = need.get((str(device.state), str(span.family)), 0)
            if wait and not span.constant:
                rule = self.cp.add(span.start >= self.problem.now + wait)
                if span.present is not True:
                    rule.only_enforce_if(span.present)

    def _wall(self, start: int, end: int) -> cp_model.IntervalVar:
        return self.cp.new_fixed_size_interval_var(start, end - start, "")

    # --- cumulative resources, settings, stocks

    def _resource(self, resource: Resource) -> None:
        spans = [self._hold_span(hold) for hold in self.digest.holds.get(resource.id, ())]
        for name, number, quantity, length in self._runs(self.digest.demands.get(resource.id, ())):
            span = self._span(name, number, quantity, length)
            if span is not None:
                spans.append(span)
        free = [s for s in spans if not s.constant]
        if not free:
            return
        now = self.problem.now
        taken = [(max(s.start, now), s.end, s.quantity) for s in spans if s.constant]
        taken += [(max(o.start, now), o.end, o.quantity) for o in resource.outages]
        walls = [(self._wall(start, end), level) for start, end, level in profile(taken, resource.capacity)]
        self.cp.add_cumulative(
            _intervals(free) + [wall for wall, _ in walls],
            [s.quantity for s in free] + [level for _, level in walls],
            resource.capacity,
        )

    def _settings(self) -> None:
        spans: dict[str, list[_Span]] = defaultdict(list)
        for job in self.problem.jobs:
            for setting in job.settings:
                span = self._hold_span(Hold(setting.device, setting.first, setting.last))
                span.family = setting.value
                spans[setting.device].append(span)
        for device_id, held in spans.items():
            device = self.index.device.get(device_id)
            need = {(s.before, s.after): s.duration for s in device.setups} if device else {}
            for one, two in combinations(held, 2):
                if one.family != two.family and not (one.constant and two.constant):
                    there = need.get((str(one.family), str(two.family)), 0)
                    back = need.get((str(two.family), str(one.family)), 0)
                    self._apart(one, two, together=False, need=there, need_back=back)
            for span in held:
                if device and device.state not in (None, span.family) and not span.constant:
                    self.cp.add(span.start >= self.problem.now + need.get((str(device.state), str(span.family)), 0))

    def _stock(self, stock: Stock) -> None:
        times: list[Expression] = [refill.time for refill in stock.refills]
        changes = [refill.quantity for refill in stock.refills]
        decided = False
        for name, step in self.index.step.items():
            for draw in step.draws:
                if draw.stock == stock.id:
                    times.append(self.start[name] if draw.quantity > 0 else self.end[name])
                    changes.append(-draw.quantity)
                    decided = decided or name in self._decided
        drawn = -sum(change for change in changes if change < 0)
        if not decided or stock.level - drawn >= stock.minimum:
            return
        minimum = min(stock.minimum, lowest(stock.level, zip(times, changes, strict=True)))
        added = sum(change for change in changes if change > 0)
        self.cp.add_reservoir_constraint([0, *times], [stock.level, *changes], minimum, stock.level + added)

    # --- objective and solution

    def windows(self) -> Expression:
        """Return the cost of all soft windows that are broken."""
        return self.kept_windows + sum(excess * cost for excess, cost in self.excess)

    def makespan(self) -> Expression:
        """Return the last end."""
        last = self.cp.new_int_var(0, self.horizon, "makespan")
        for name in self.index.step:
            self.cp.add(last >= self.end[name])
        return last

    def flow(self, name: ObjectiveName) -> Expression:
        """Return the weighted flow, for ``lab`` with stretch guard and tardiness (see `objective`)."""
        total: Expression = 0
        for job in self.problem.jobs:
            steps = [step.id for step in job.steps()]
            if not steps:
                continue
            finish = self._finish(steps)
            cost: Expression = finish - job.release
            if name == "lab":
                cost = cost + self._beyond(finish, job.release + STRETCH_LIMIT * self.digest.alone[job.id])
                if job.due is not None:
                    cost = cost + TARDINESS_FACTOR * self._beyond(finish, job.due)
            total = total + job.weight * cost
        return total

    def _finish(self, steps: list[str]) -> Expression:
        constant = max((self.end[step] for step in steps if step not in self._decided), default=0)
        decided = [step for step in steps if step in self._decided]
        if not decided:
            return constant
        finish = self.cp.new_int_var(constant, max(constant, self.horizon), "")
        for step in decided:
            self.cp.add(finish >= self.end[step])
        return finish

    def _beyond(self, finish: Expression, limit: int) -> Expression:
        if isinstance(finish, int):
            return max(0, finish - limit)
        beyond = self.cp.new_int_var(0, self.horizon, "")
        self.cp.add(beyond >= finish - limit)
        return beyond

    def churn(self, before: Plan, until: int) -> Expression:
        """Return how much steps move that `before` starts by `until` (see `objective`)."""
        total: Expression = 0
        for name, start in before.starts.items():
            if start > until or name not in self.start:
                continue
            if name not in self._decided:
                total = total + abs(self.start[name] - start)
                continue
            moved = self.cp.new_int_var(0, self.horizon, "")
            self.cp.add(moved >= self.start[name] - start)
            self.cp.add(moved >= start - self.start[name])
            total = total + moved
            if len(self.mode[name]) > 1:
                total = total + 1 - self.mode[name][before.modes.get(name, 0)]
        return total

    def minimise(
        self, value: Expression, effort: Effort, tell: Callable[[Spans], None] | None = None
    ) -> tuple[Answer, Spans | None]:
        """Minimise a value within the effort; return the answer and, if there is one, the solution.

        `tell` is called with each solution as it is found.
        """
        self.cp.minimize(value)
        answer, solver = solve(self.cp, effort, None if tell is None else lambda at: tell(self._read(at)))
        return answer, self._read(solver) if answer.solved else None

    def _read(self, values: Values) -> Spans:
        modes = {}
        for step, literals in self.mode.items():
            chosen = (number for number, literal in enumerate(literals) if values.value(literal))
            modes[step] = 0 if len(literals) == 1 else next(chosen)
        return (
            {step: values.value(start) for step, start in self.start.items()},
            {step: values.value(end) for step, end in self.end.items()},
            modes,
        )
