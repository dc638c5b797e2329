"""The independent checker: does a plan keep every rule of its problem?

It shares no code with any planner, only the data classes, and it is deliberately plain: each rule is checked
from its definition by sorting and sweeping. Whatever it finds it names with a sentence. Rules between fixed
steps alone are facts, not violations: nothing can be done about them any more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from scheduler.planning.plan import Plan
from scheduler.planning.problem import Device, Index, Job, Lag, Problem, Resource, Stock, Task

Kind = Literal[
    "missing", "unknown", "mode", "duration", "past", "release", "deadline", "fixed", "lag_min", "lag_max",
    "window", "device", "still", "blocked", "hold", "capacity", "setting", "setup", "batch", "stock", "fact",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken rule; `amount` says by how much, in ticks or units.

    A ``window`` is soft. A ``fact`` is what began before any plan could help it, e.g. more open holds than
    there are places: it forbids no plan.
    """

    kind: Kind
    sentence: str
    steps: tuple[str, ...] = ()
    amount: int = 0

    @property
    def hard(self) -> bool:
        """Whether a plan with this violation must not be used."""
        return self.kind not in ("window", "fact")

    def __str__(self) -> str:
        return self.sentence


@dataclass(slots=True)
class _Span:
    """A stretch of time that something occupies: by one step, by a batch, or from one step to another."""

    start: int
    end: int
    steps: tuple[str, ...]
    fixed: bool
    still: bool = False
    family: str | None = None
    quantity: int = 1
    begun: bool = False

    @property
    def name(self) -> str:
        return " and ".join(self.steps)


def check(problem: Problem, plan: Plan) -> list[Violation]:
    """Return every violation of `plan`, hard ones and broken soft windows; none means it is perfect."""
    return list(_Checker(problem, plan).violations())


def hard_violations(problem: Problem, plan: Plan) -> list[Violation]:
    """Return the violations that forbid using the plan."""
    return [violation for violation in check(problem, plan) if violation.hard]


class _Checker:
    def __init__(self, problem: Problem, plan: Plan) -> None:
        self.problem, self.plan = problem, plan
        self.index: Index = problem.index()
        self.start, self.end = plan.starts, plan.ends
        self.placed = {
            name
            for name, step in self.index.step.items()
            if name in plan.starts and name in plan.ends and 0 <= plan.modes.get(name, -1) < len(step.modes)
        }

    def violations(self) -> Iterator[Violation]:
        yield from self.steps()
        for job in self.problem.jobs:
            yield from self.deadline(job)
            for task in job.tasks:
                yield from self.chain(task)
            for lag in job.lags:
                yield from self.lag(lag)
        for lag in self.problem.lags:
            yield from self.lag(lag)
        yield from self.devices()
        yield from self.resources()
        yield from self.settings()
        for stock in self.problem.stocks:
            yield from self.stock(stock)

    # --- single steps

    def steps(self) -> Iterator[Violation]:
        for name in self.plan.starts:
            if name not in self.index.step:
                yield Violation("unknown", f"the plan names step {name}, which does not exist", (name,))
        for name, step in self.index.step.items():
            if name not in self.plan.starts or name not in self.plan.ends:
                yield Violation("missing", f"step {name} has no place in the plan", (name,))
                continue
            start, end, mode = self.start[name], self.end[name], self.plan.modes.get(name, -1)
            if not 0 <= mode < len(step.modes):
                yield Violation("mode", f"step {name} has no mode {mode}", (name,))
                continue
            fixed = self.index.fixed.get(name)
            if fixed is not None:
                if (start, end, mode) != (fixed.start, fixed.end, fixed.mode):
                    text = f"{fixed.state} step {name} stands at {fixed.start}..{fixed.end}, not {start}..{end}"
                    yield Violation("fixed", text, (name,), abs(start - fixed.start))
                continue
            if end - start != step.modes[mode].duration:
                text = f"step {name} is planned for {end - start} ticks but lasts {step.modes[mode].duration}"
                yield Violation("duration", text, (name,))
            if start < self.problem.now:
                text = f"step {name} starts at {start}, before now ({self.problem.now})"
                yield Violation("past", text, (name,), self.problem.now - start)
            release = max(self.index.job_of[name].release, step.earliest)
            if start < release:
                text = f"step {name} starts at {start}, before its release at {release}"
                yield Violation("release", text, (name,), release - start)

    def deadline(self, job: Job) -> Iterator[Violation]:
        if job.deadline is None:
            return
        for step in job.steps():
            late = self.end[step.id] - job.deadline if step.id in self.placed else 0
            if late > 0 and step.id not in self.index.fixed:
                text = f"step {step.id} ends {late} ticks after the deadline of job {job.id} at {job.deadline}"
                yield Violation("deadline", text, (step.id,), late)

    # --- time lags

    def chain(self, task: Task) -> Iterator[Violation]:
        for i in range(len(task.steps) - 1):
            one, two = task.steps[i], task.steps[i + 1]
            yield from self.lag(Lag(one.id, two.id, min=one.min_gap, max=one.max_gap, cost=one.gap_cost))

    def lag(self, lag: Lag) -> Iterator[Violation]:
        if lag.first not in self.placed or lag.second not in self.placed:
            return
        if lag.first in self.index.fixed and lag.second in self.index.fixed:
            return
        one = self.end[lag.first] if lag.first_point == "end" else self.start[lag.first]
        two = self.end[lag.second] if lag.second_point == "end" else self.start[lag.second]
        between = f"from {lag.first_point} of {lag.first} to {lag.second_point} of {lag.second}"
        pair = (lag.first, lag.second)
        if lag.min is not None and two - one < lag.min:
            text = f"{between} there are {two - one} ticks, at least {lag.min} are needed"
            yield Violation("lag_min", text, pair, lag.min - (two - one))
        if lag.max is not None and two - one > lag.max:
            text = f"{between} there are {two - one} ticks, at most {lag.max} are allowed"
            yield Violation("lag_max" if lag.cost is None else "window", text, pair, two - one - lag.max)

    # --- devices

    def devices(self) -> Iterator[Violation]:
        spans: dict[str, list[_Span]] = defaultdict(list)
        covered: set[tuple[str, str]] = set()
        for hold, span in self.holds():
            if hold.resource in self.index.device:
                spans[hold.resource].append(span)
                order = [step.id for step in self.index.task_of[hold.first].steps]
                for name in order[order.index(hold.first) : order.index(hold.last) + 1]:
                    covered.add((hold.resource, name))
        batches: dict[tuple[str, str, int, int], _Span] = {}
        for name in self.index.step:
            if name not in self.placed:
                continue
            step = self.index.step[name]
            start, end, fixed = self.start[name], self.end[name], name in self.index.fixed
            for use in step.modes[self.plan.modes[name]].uses:
                if (use.device, name) in covered or start == end:
                    continue
                span = _Span(start, end, (name,), fixed, use.still, step.family, step.batch_size)
                if step.batch is not None and self.index.device[use.device].batch > 1:
                    run = batches.get((use.device, step.batch, start, end))
                    if run is not None:
                        run.steps += (name,)
                        run.quantity += step.batch_size
                        run.fixed = run.fixed and fixed
                        continue
                    batches[use.device, step.batch, start, end] = span
                spans[use.device].append(span)
        for (oven, key, _, _), run in batches.items():
            limit = self.index.device[oven].batch
            if run.quantity > limit and not run.fixed:
                text = f"the {key} batch of {run.name} on {oven} has {run.quantity} places, {limit} are there"
                yield Violation("batch", text, run.steps, run.quantity - limit)
        for device in self.problem.devices:
            yield from self.device(device, spans[device.id])

    def device(self, device: Device, spans: list[_Span]) -> Iterator[Violation]:
        spans.sort(key=lambda span: (span.start, span.end))
        last_use: _Span | None = None
        last_still: _Span | None = None
        for span in spans:
            for other in (last_use, last_still):
                if other is None or other.end <= span.start or (span.still and other.still):
                    continue
                if span.fixed and other.fixed:
                    continue
                kind: Kind = "still" if span.still or other.still else "device"
                if len({*span.steps, *other.steps}) > 1 and span.steps != other.steps:
                    text = f"{other.name} has {device.id} until {other.end}"
                    text += f", but {span.name} takes it at {span.start}"
                    yield Violation(kind, text, (*other.steps, *span.steps), other.end - span.start)
            if span.still:
                last_still = span if last_still is None or span.end > last_still.end else last_still
            else:
                last_use = span if last_use is None or span.end > last_use.end else last_use
            for blocked in device.blocked:
                if not span.fixed and blocked.start < span.end and span.start < blocked.end:
                    why = f" ({blocked.name})" if blocked.name else ""
                    text = f"{device.id} is blocked {blocked.start}..{blocked.end}{why}, {span.name} needs it"
                    yield Violation("blocked", text, span.steps)
        if device.setups:
            yield from self.setups(device, [span for span in spans if not span.still])

    def setups(self, device: Device, spans: list[_Span]) -> Iterator[Violation]:
        needed = {(setup.before, setup.after): setup.duration for setup in device.setups}
        before, free_from, fixed = device.state, self.problem.now, True
        for span in spans:
            if span.end <= self.problem.now:
                continue
            if before is not None and span.family is not None and not (span.fixed and fixed):
                short = needed.get((before, span.family), 0) - (span.start - free_from)
                if short > 0:
                    text = f"{device.id} needs {short} more ticks to go from {before} to {span.family}"
                    yield Violation("setup", f"{text} before {span.name}", span.steps, short)
            before, free_from, fixed = span.family, span.end, span.fixed

    def holds(self) -> Iterator[tuple]:
        for job in self.problem.jobs:
            for hold in job.holds:
                if hold.first in self.placed and hold.last in self.placed:
                    fixed = hold.first in self.index.fixed and hold.last in self.index.fixed
                    steps = (hold.first, hold.last) if hold.first != hold.last else (hold.first,)
                    begun = hold.first in self.index.fixed
                    span = _Span(self.start[hold.first], self.end[hold.last], steps, fixed, begun=begun)
                    span.quantity = hold.quantity
                    yield hold, span

    # --- cumulative resources, settings, stocks

    def resources(self) -> Iterator[Violation]:
        spans: dict[str, list[_Span]] = defaultdict(list)
        for hold, span in self.holds():
            if hold.resource in self.index.resource:
                if span.end < span.start and not span.fixed:
                    text = f"the hold of {hold.resource} over {span.name} ends before it starts"
                    yield Violation("hold", text, span.steps)
                spans[hold.resource].append(span)
        for name in self.placed:
            for demand in self.index.step[name].modes[self.plan.modes[name]].demands:
                fixed = name in self.index.fixed
                span = _Span(self.start[name], self.end[name], (name,), fixed, quantity=demand.quantity, begun=fixed)
                spans[demand.resource].append(span)
        for resource in self.problem.resources:
            yield from self.capacity(resource, spans[resource.id])

    def capacity(self, resource: Resource, spans: list[_Span]) -> Iterator[Violation]:
        spans = [span for span in spans if span.end > span.start and span.quantity]
        for span in spans:
            if span.quantity > resource.capacity and not span.begun:
                text = f"{span.name} needs {span.quantity} of {resource.id}, only {resource.capacity} exist"
                yield Violation("capacity", text, span.steps, span.quantity - resource.capacity)
        points = sorted({span.start for span in spans} | {outage.start for outage in resource.outages})
        events = sorted(
            [(span.start, 1, span) for span in spans] + [(span.end, 0, span) for span in spans],
            key=lambda event: (event[0], event[1]),
        )
        active: dict[int, _Span] = {}
        at = total = 0
        for point in points:
            while at < len(events) and (events[at][0], events[at][1]) <= (point, 1):
                _, opens, span = events[at]
                total += span.quantity if opens else -span.quantity
                if opens:
                    active[id(span)] = span
                else:
                    active.pop(id(span), None)
                at += 1
            missing = sum(out.quantity for out in resource.outages if out.start <= point < out.end)
            over = total - (resource.capacity - missing)
            if over > 0 and any(not span.fixed for span in active.values()):
                names = tuple(dict.fromkeys(step for span in active.values() for step in span.steps))
                text = f"at {point} {total} of {resource.id} are needed, {resource.capacity - missing} are there"
                kind: Kind = "fact" if all(span.begun for span in active.values()) else "capacity"
                yield Violation(kind, f"{text} ({', '.join(sorted(names))})", names, over)

    def settings(self) -> Iterator[Violation]:
        spans: dict[str, list[_Span]] = defaultdict(list)
        for job in self.problem.jobs:
            for setting in job.settings:
                if setting.first in self.placed and setting.last in self.placed:
                    fixed = setting.first in self.index.fixed and setting.last in self.index.fixed
                    names = (setting.first, setting.last)[: 1 + (setting.first != setting.last)]
                    start, end = self.start[setting.first], self.end[setting.last]
                    if start == end:
                        continue
                    spans[setting.device].append(_Span(start, end, names, fixed, family=setting.value))
        for thing, held in spans.items():
            held.sort(key=lambda span: (span.start, span.end))
            device = self.index.device.get(thing)
            needed = {(s.before, s.after): s.duration for s in device.setups} if device else {}
            for i, span in enumerate(held):
                others = [other for other in held[:i] if other.family != span.family]
                for other in others:
                    need = needed.get((str(other.family), str(span.family)), 0)
                    if span.start < other.end + need and not (span.fixed and other.fixed):
                        text = f"{thing} stays at {other.family} for {other.name} until {other.end}"
                        text += f", but {span.name} needs {span.family} at {span.start}"
                        yield Violation("setting", text, (*other.steps, *span.steps), other.end + need - span.start)
                if device and device.state not in (None, span.family) and not span.fixed:
                    need = needed.get((str(device.state), str(span.family)), 0)
                    if span.start < self.problem.now + need:
                        text = f"{thing} needs {need} ticks to go from {device.state} to {span.family}"
                        yield Violation("setting", f"{text} for {span.name}", span.steps)

    def stock(self, stock: Stock) -> Iterator[Violation]:
        # At one instant what arrives counts before what is taken.
        events: list[tuple[int, int, str]] = [(refill.time, refill.quantity, "") for refill in stock.refills]
        for name in self.placed:
            for draw in self.index.step[name].draws:
                if draw.stock == stock.id:
                    time = self.start[name] if draw.quantity > 0 else self.end[name]
                    events.append((time, -draw.quantity, name))
        level, seen_free = stock.level, False
        for time, change, name in sorted(events, key=lambda event: (event[0], -event[1])):
            level += change
            seen_free = seen_free or (bool(name) and name not in self.index.fixed)
            if change < 0 and level < stock.minimum and seen_free:
                text = f"{name} at {time} leaves {level} of {stock.id}, below the least level {stock.minimum}"
                yield Violation("stock", text, (name,), stock.minimum - level)
