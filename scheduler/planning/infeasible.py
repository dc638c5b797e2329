"""Why can this job never be done? The smallest set of rules that contradict each other, and a repair that
verifies.

The order of the checks is that of their cost: single rules, contradicting lags, the longest path against the
deadline, and then deletion filtering: rules are left out one after the other, and what cannot be left out
without the job becoming possible is the conflict. Every proposal is planned and checked before it is made.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from scheduler.planning.network import LagCycleError, arcs_of, earliest_starts, job_lags, shortest_duration
from scheduler.planning.plan import Plan, say_duration
from scheduler.planning.problem import Device, Fixed, Job, Lag, Problem, Step
from scheduler.planning.trials import Trials


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that can be left out: its kind, what it names, and its value in ticks."""

    kind: str
    name: str
    value: int = 0
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class Infeasible:
    """Why a job has no place.

    Attributes
    ----------
    sentences
        One for each rule of the conflict.
    conflict
        The rules; leaving out any single one makes the job possible, unless a single sentence says it all.
    proposal
        A change that was planned and verified, e.g. ``works if the window … is 12 min instead of 5 min``;
        empty if none was found.
    """

    sentences: tuple[str, ...]
    conflict: tuple[Rule, ...] = ()
    proposal: str = ""

    def __str__(self) -> str:
        text = "; ".join(self.sentences)
        return f"{text}. It {self.proposal}." if self.proposal else f"{text}."


def explain_infeasible(problem: Problem, job: Job, plan: Plan | None = None) -> Infeasible | None:
    """Explain why `job` cannot be placed, or return `None` if it can.

    Parameters
    ----------
    problem
        The laboratory with what is fixed; `job` need not be one of its jobs.
    job
        The job in question.
    plan
        If given, all other jobs keep their places in it ("can it be done behind the present queue?");
        otherwise only what is fixed stands in the way.
    """
    single = list(_impossible(problem, job))
    if single:
        return Infeasible(tuple(single))
    room = _Room(_frame(problem, job, plan), job)
    shortest = {step.id: shortest_duration(step) for step in job.steps()}
    longest = {step.id: max(mode.duration for mode in step.modes) for step in job.steps()}
    arcs = arcs_of(job_lags(job), shortest, longest)
    try:
        release = {step.id: max(problem.now, job.release, step.earliest) for step in job.steps()}
        starts = earliest_starts(shortest, arcs, release)
    except LagCycleError as error:
        rules = tuple(_lag_rule(problem, job, lag) for lag in error.lags)
        found = Infeasible((str(error), *(rule.sentence for rule in rules)), rules)
        return replace(found, proposal=_proposal(room, rules, error.excess))
    last = max((starts[name] + shortest[name] for name in starts), default=0)
    if job.deadline is not None and last > job.deadline:
        say = say_duration(last - job.deadline, problem.tick)
        text = f"even alone, job {job.id} ends {say} after its deadline"
        rules = (Rule("deadline", job.id, job.deadline, text),)
        return Infeasible((text,), rules, _proposal(room, rules))
    if room.fits([]):
        return None
    rules = tuple(_conflict(room))
    return Infeasible(tuple(rule.sentence for rule in rules), rules, _proposal(room, rules))


def _impossible(problem: Problem, job: Job) -> Iterator[str]:
    """Yield sentences about single steps that nothing can help."""
    capacity = {resource.id: resource.capacity for resource in problem.resources}
    for step in job.steps():
        wrong = []
        for mode in step.modes:
            over = [d for d in mode.demands if d.quantity > capacity.get(d.resource, 0)]
            if over:
                have = capacity.get(over[0].resource, 0)
                wrong.append(f"{step.id} needs {over[0].quantity} of {over[0].resource}, only {have} exist")
        if len(wrong) == len(step.modes):
            yield wrong[0]
    for hold in job.holds:
        have = capacity.get(hold.resource, hold.quantity)
        if hold.quantity > have:
            yield f"job {job.id} holds {hold.quantity} of {hold.resource}, only {have} exist"
    for stock in problem.stocks:
        drawn = sum(d.quantity for step in job.steps() for d in step.draws if d.stock == stock.id)
        there = stock.level + sum(refill.quantity for refill in stock.refills) - stock.minimum
        if drawn > there:
            yield f"job {job.id} takes {drawn} of {stock.id}, with all deliveries {there} will be there"


def _frame(problem: Problem, job: Job, plan: Plan | None) -> Problem:
    """Return the laboratory with only what stands in the way: fixed steps, and the queue of a plan."""
    fixed = {item.step: item for item in problem.fixed}
    if plan is not None:
        for other in problem.jobs:
            for step in other.steps():
                if other.id != job.id and step.id not in fixed and step.id in plan.starts:
                    start, end = plan.starts[step.id], plan.ends[step.id]
                    fixed[step.id] = Fixed(step.id, start, end, plan.modes[step.id], "frozen")
    jobs = []
    for other in problem.jobs:
        if other.id == job.id:
            continue
        steps = {step.id for step in other.steps()}
        if steps & fixed.keys():
            tasks = tuple(
                replace(task, steps=tuple(step for step in task.steps if step.id in fixed)) for task in other.tasks
            )
            tasks = tuple(task for task in tasks if task.steps)
            holds = tuple(hold for hold in other.holds if hold.first in fixed and hold.last in fixed)
            settings = tuple(s for s in other.settings if s.first in fixed and s.last in fixed)
            jobs.append(replace(other, tasks=tasks, lags=(), holds=holds, settings=settings, deadline=None))
    kept = tuple(item for name, item in fixed.items() if not name.startswith("\0"))
    own = {step.id for step in job.steps()}
    others = {step.id for other in jobs for step in other.steps()}
    kept = tuple(item for item in kept if item.step in own or item.step in others)
    return replace(problem, jobs=tuple(jobs), lags=(), fixed=kept)


class _Room:
    """The laboratory around a job, with and without some of what stands in the way."""

    def __init__(self, frame: Problem, job: Job) -> None:
        self.frame, self.job = frame, job
        self._trials: dict[frozenset[tuple[str, str]], Trials] = {}

    def trials(self, rules: Iterable[Rule]) -> Trials:
        """Return the laboratory without some rules."""
        gone = [rule for rule in rules if rule.kind in ("job", "queue", "blocked")]
        key = frozenset((rule.kind, rule.name) for rule in gone)
        if key not in self._trials:
            self._trials[key] = Trials(_without(self.frame, self.job, gone)[0], self.job)
        return self._trials[key]

    def fits(self, rules: list[Rule]) -> bool:
        """Whether the job has a place if some rules are left out."""
        return self.trials(rules).fits(_without(self.frame, self.job, rules)[1])


def _conflict(room: _Room) -> list[Rule]:
    """Return a smallest set of rules: leaving out any one makes the job possible (deletion filter)."""
    rules, job = list(_rules(room.frame, room.job)), room.job
    out: list[Rule] = []
    if not room.fits(rules):
        return [Rule("capacity", job.id, 0, f"job {job.id} collides with itself")]
    for rule in rules:
        if not room.fits([*out, rule]):
            out.append(rule)
    return [rule for rule in rules if rule not in out]


def _rules(frame: Problem, job: Job) -> Iterator[Rule]:
    """Yield everything that may be left out; recurring closing times of a device are one rule."""
    own = {use.device for step in job.steps() for mode in step.modes for use in mode.uses}
    queued = _queued(frame)
    if queued:
        yield Rule("queue", "", 0, "the jobs before it keep their places")
    for other in frame.jobs:
        if other.id not in queued:
            yield Rule("job", other.id, 0, f"job {other.id} has its places")
    for device in frame.devices:
        if device.blocked and device.id in own:
            names = {blocked.name for blocked in device.blocked if blocked.name}
            why = f" ({', '.join(sorted(names))})" if names else ""
            yield Rule("blocked", device.id, 0, f"{device.id} is not always available{why}")
    for lag in job_lags(job):
        if lag.max is not None and lag.cost is None:
            yield _lag_rule(frame, job, lag)
    if job.deadline is not None:
        left = say_duration(job.deadline - frame.now, frame.tick)
        yield Rule("deadline", job.id, job.deadline, f"job {job.id} must end within {left}")


def _queued(frame: Problem) -> set[str]:
    """Return the jobs that have not begun."""
    begun = {fixed.step for fixed in frame.fixed if fixed.state != "frozen"}
    return {job.id for job in frame.jobs if not any(step.id in begun for step in job.steps())}


def _lag_rule(problem: Problem, job: Job, lag: Lag) -> Rule:
    name = f"{lag.first}|{lag.first_point}|{lag.second}|{lag.second_point}"
    between = f"from {lag.first_point} of {lag.first} to {lag.second_point} of {lag.second}"
    if lag.max is None:
        text = f"{between} at least {say_duration(lag.min or 0, problem.tick)} must pass"
        return Rule("minimum", name, lag.min or 0, text)
    return Rule("window", name, lag.max, f"{between} at most {say_duration(lag.max, problem.tick)} may pass")


def _without(frame: Problem, job: Job, rules: list[Rule]) -> tuple[Problem, Job]:
    """Return laboratory and job without some rules."""
    for rule in rules:
        frame, job = relax(frame, job, rule, None)
    return frame, job


def relax(frame: Problem, job: Job, rule: Rule, value: int | None) -> tuple[Problem, Job]:
    """Return laboratory and job with a rule set to another value in ticks, or without it."""
    if rule.kind in ("job", "queue"):
        leaving = _queued(frame) if rule.kind == "queue" else {rule.name}
        gone = {step.id for other in frame.jobs if other.id in leaving for step in other.steps()}
        jobs = tuple(other for other in frame.jobs if other.id not in leaving)
        return replace(frame, jobs=jobs, fixed=tuple(f for f in frame.fixed if f.step not in gone)), job
    if rule.kind == "blocked":
        devices = tuple(_open(device) if device.id == rule.name else device for device in frame.devices)
        return replace(frame, devices=devices), job
    if rule.kind == "deadline":
        return frame, replace(job, deadline=value)
    if rule.kind == "window":
        return frame, _set_window(job, rule, value)
    return frame, job


def _open(device: Device) -> Device:
    return replace(device, blocked=())


def _set_window(job: Job, rule: Rule, value: int | None) -> Job:
    first, first_point, second, second_point = rule.name.split("|")

    def lag_of(lag: Lag) -> Lag:
        same = (lag.first, lag.first_point, lag.second, lag.second_point) == (
            first,
            first_point,
            second,
            second_point,
        )
        return replace(lag, max=value) if same and lag.max is not None else lag

    def step_of(step: Step, after: Step | None) -> Step:
        same = step.id == first and after is not None and after.id == second and step.max_gap is not None
        return replace(step, max_gap=value) if same else step

    tasks = tuple(
        replace(
            task,
            steps=tuple(
                step_of(step, task.steps[n + 1] if n + 1 < len(task.steps) else None)
                for n, step in enumerate(task.steps)
            ),
        )
        for task in job.tasks
    )
    return replace(job, tasks=tasks, lags=tuple(map(lag_of, job.lags)))


def _proposal(room: _Room, rules: tuple[Rule, ...], excess: int = 0) -> str:
    """Return a change of one rule that makes the job possible; it was planned and checked.

    By `excess` ticks at least a window has to be wider.
    """
    kinds, tick = ("window", "deadline", "blocked", "job", "queue"), room.frame.tick
    for rule in sorted((rule for rule in rules if rule.kind in kinds), key=lambda rule: kinds.index(rule.kind)):
        if rule.kind in ("window", "deadline"):
            value = _least(room, rule, excess)
            if value is None:
                continue
            if rule.kind == "window":
                first, _, second, _ = rule.name.split("|")
                to, was = say_duration(_said(value, tick), tick), say_duration(rule.value, tick)
                return f"works if the window from {first} to {second} is {to} instead of {was}"
            return f"works if the deadline is {say_duration(value - rule.value, tick)} later"
        if room.trials([rule]).verified(room.job):
            what = {
                "blocked": f"{rule.name} is available",
                "job": f"job {rule.name} makes room",
                "queue": "it may go before others",
            }
            return f"works if {what[rule.kind]}"
    return ""


def _said(value: int, tick: float) -> int:
    """Return a length in ticks that can be said in whole minutes and is not shorter, so that it works as it is said."""
    return value if value * tick < 90 else math.ceil(math.ceil(value * tick / 60 - 1e-9) * 60 / tick)


def _least(room: _Room, rule: Rule, excess: int) -> int | None:
    """Return the least value of a window or deadline that makes the job possible, verified."""
    trials = room.trials([])

    def variant(value: int | None) -> Job:
        return relax(room.frame, room.job, rule, value)[1]

    table = trials.place(variant(None))
    if table is None:
        return None
    starts, ends, _ = table.spans()
    if rule.kind == "deadline":
        # Placed as early as possible without a deadline: the end is the least one.
        high = max(ends[step.id] for step in room.job.steps())
        return high if trials.verified(variant(high)) else None
    first, first_point, second, second_point = rule.name.split("|")
    high = (ends if second_point == "end" else starts)[second]
    high -= (ends if first_point == "end" else starts)[first]
    low = rule.value
    if excess and trials.verified(variant(low + excess)):
        return low + excess
    if high <= low or not trials.fits(variant(high)):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if trials.fits(variant(middle)):
            high = middle
        else:
            low = middle
    return high if trials.verified(variant(high)) else None
