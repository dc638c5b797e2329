"""Why is it waiting? One sentence from the plan, and the cheapest change that would help.

The answer names what stands in the way, who has it and until when; what would help is found by planning again
without the blocker, so it is never a guess.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from scheduler.planning.editable import EditableTable
from scheduler.planning.layout import UNPLACED
from scheduler.planning.objective import job_finishes
from scheduler.planning.plan import Plan, say_duration
from scheduler.planning.problem import Index, Problem, Step, all_lags
from scheduler.planning.repair import repair
from scheduler.planning.repair import replace as put
from scheduler.planning.table import Snapshot


@dataclass(frozen=True, slots=True)
class Remedy:
    """A change and what it brings: `start` in ticks, `gain` ticks earlier, at `cost` ticks for the others.

    `kind` is ``without`` (the job that has it), ``open`` (the blocked device) or ``first``.
    """

    change: str
    start: int
    gain: int
    cost: int = 0
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a step waits for.

    Attributes
    ----------
    step, start
        The step and its planned start in ticks.
    reason
        ``device``, ``resource``, ``maintenance``, ``predecessor``, ``release`` or ``nothing``.
    thing
        The device or resource.
    holder_step, holder_job
        Who has it; leave the names out for an asker who may not know (`sentence`).
    until
        Tick until which it is taken.
    remedies
        Best first.
    """

    step: str
    start: int
    reason: str
    thing: str = ""
    holder_step: str = ""
    holder_job: str = ""
    until: int | None = None
    remedies: tuple[Remedy, ...] = ()
    now: int = 0
    tick: float = 1.0

    def sentence(self, *, names: bool = True) -> str:
        """Say it; without `names` other people's work is only called busy."""
        left = say_duration(max(0, (self.until or self.now) - self.now), self.tick)
        who = f"job {self.holder_job}" if names and self.holder_job else "other work"
        texts = {
            "device": f"{self.step} waits for {self.thing}, which {who} has for another {left}",
            "resource": f"{self.step} waits for {self.thing}, which {who} holds for another {left}",
            "maintenance": f"{self.step} waits for {self.thing}, which is not available for another {left}",
            "predecessor": f"{self.step} waits for {self.holder_step} of its own job, for another {left}",
            "release": f"{self.step} is not to start for another {left}",
            "nothing": f"{self.step} can start now",
        }
        text = texts[self.reason]
        if self.remedies and names:
            best = self.remedies[0]
            text += f"; {best.change} it would start {say_duration(best.gain, self.tick)} earlier"
            if best.cost:
                text += f" and others finish {say_duration(best.cost, self.tick)} later in all"
        return text + "."


class Explainer:
    """Explains steps of one plan, and keeps what several questions about it need."""

    def __init__(self, problem: Problem, plan: Plan) -> None:
        self._problem = problem
        self._plan = plan
        self._index = problem.index()

    def why(self, name: str, *, remedies: bool = True) -> Waiting:
        """Explain what a step, or the next step of a job, waits for; see `why_waiting`."""
        problem, plan = self._problem, self._plan
        step = _step(self._index, plan, name)
        start = plan.starts[step.id]
        answer = Waiting(step.id, start, "nothing", now=problem.now, tick=problem.tick)
        if start <= problem.now:
            return answer
        answer = _reason(problem, self._index, plan, step, answer)
        if remedies and answer.reason in ("device", "resource", "maintenance"):
            found = self._remedies(self._index.job_of[step.id].id, answer)
            good = [remedy for remedy in found if remedy is not None and remedy.gain > 0]
            answer = replace(answer, remedies=tuple(sorted(good, key=lambda one: (one.cost, -one.gain))))
        return answer

    @cached_property
    def _begun(self) -> set[str]:
        return {self._index.job_of[item.step].id for item in self._problem.fixed}

    @cached_property
    def _tables(self) -> tuple[EditableTable, Snapshot, Snapshot]:
        """A table in which everything stands where it is planned; it with nothing but what is fixed, and as it is."""
        table = EditableTable(self._problem)
        fixed = table.snapshot()
        repair(self._problem, self._plan, table=table, tries=1)
        return table, fixed, table.snapshot()

    @property
    def settled(self) -> EditableTable:
        """A table in which everything stands where it is planned; who changes it puts that back."""
        return self._tables[0]

    def _remedies(self, job: str, answer: Waiting) -> Iterator[Remedy | None]:
        """Yield changes that may bring the step forward, by planning again."""
        if answer.holder_job and answer.holder_job != job and answer.holder_job not in self._begun:
            yield self._without(answer.holder_job, job, answer)
        if answer.reason == "maintenance":
            yield self._opened(job, answer)
        if job not in self._begun:
            yield self._first(job, answer)

    def _without(self, holder: str, job: str, answer: Waiting) -> Remedy | None:
        table, _, full = self._tables
        _lift(table, [*table.job_units[holder], *table.job_units[job]])
        refused = put(table, job, {})
        starts = table.spans()[0]
        table.restore(full)
        return None if refused else _remedy(f"without job {holder}", "without", starts, answer)

    def _opened(self, job: str, answer: Waiting) -> Remedy | None:
        devices = tuple(replace(one, blocked=()) if one.id == answer.thing else one for one in self._problem.devices)
        table, unplaced = repair(replace(self._problem, devices=devices), self._plan, tries=1)
        if job in unplaced:
            return None
        _lift(table, table.job_units[job])
        refused = put(table, job, {})
        change = f"without the blocked time of {answer.thing}"
        return None if refused else _remedy(change, "open", table.spans()[0], answer)

    def _first(self, job: str, answer: Waiting) -> Remedy | None:
        """Plan the job first among those that have not begun, and the others as they were, as far as they still fit."""
        table, fixed, full = self._tables
        table.restore(fixed)
        unplaced = repair(self._problem, self._plan, ahead=job, table=table, tries=1)[1]
        starts, ends, _ = table.spans()
        table.restore(full)
        if job in unplaced:
            return None
        now = job_finishes(self._problem, Plan(starts, ends, {}))
        before = job_finishes(self._problem, self._plan)
        cost = sum(max(0, now.get(other, 0) - finish) for other, finish in before.items() if other != job)
        return _remedy("if it went first", "first", starts, answer, cost)


def _lift(table: EditableTable, units: list[int]) -> None:
    """Take out what of some units is not fixed."""
    for index in reversed(units):
        if table.units[index].pinned is None and table.start[index] != UNPLACED:
            table.unseat(index)


def _remedy(change: str, kind: str, starts: Mapping[str, int], answer: Waiting, cost: int = 0) -> Remedy | None:
    start = starts.get(answer.step)
    return None if start is None else Remedy(change, start, answer.start - start, cost, kind)


def why_waiting(problem: Problem, plan: Plan, name: str, *, remedies: bool = True) -> Waiting:
    """Explain what a step, or the next step of a job, waits for.

    Parameters
    ----------
    problem, plan
        The plan in force.
    name
        Id of a step or a job.
    remedies
        Whether to look for changes that would help.

    Raises
    ------
    KeyError
        If nothing that waits has this name.
    """
    return Explainer(problem, plan).why(name, remedies=remedies)


def _step(index: Index, plan: Plan, name: str) -> Step:
    if name in index.step:
        return index.step[name]
    for job in index.problem.jobs:
        if job.id == name:
            waiting = [step for step in job.steps() if step.id in plan.starts and step.id not in index.fixed]
            if waiting:
                return min(waiting, key=lambda step: plan.starts[step.id])
    raise KeyError(name)


def _reason(problem: Problem, index: Index, plan: Plan, step: Step, answer: Waiting) -> Waiting:
    start = answer.start
    ready, holder = max(problem.now, index.job_of[step.id].release, step.earliest), ""
    length = plan.ends[step.id] - start
    for lag in all_lags(problem):
        if lag.second == step.id and lag.min is not None and lag.first in plan.starts:
            at = plan.ends[lag.first] if lag.first_point == "end" else plan.starts[lag.first]
            at += lag.min - (length if lag.second_point == "end" else 0)
            if at > ready:
                ready, holder = at, lag.first
    if ready >= start:
        if holder:
            job = index.job_of[holder].id
            return replace(answer, reason="predecessor", holder_step=holder, holder_job=job, until=ready)
        return replace(answer, reason="release", until=ready)
    found = max(_blockers(index, plan, step, ready, start), key=lambda b: (b[0] or 0, b[1]), default=None)
    if found is None:
        # Nothing stands in the way of this step alone: its chain would not fit, or the search chose so.
        later = _tied(index, plan, step)
        if later is not None:
            deeper = _reason(problem, index, plan, later, replace(answer, start=plan.starts[later.id]))
            if deeper.reason in ("device", "resource", "maintenance"):
                return replace(deeper, start=start)
        return answer
    until, reason, thing, holder = found
    job = index.job_of[holder].id if holder else ""
    return replace(answer, reason=reason, thing=thing, holder_step=holder, holder_job=job, until=until)


def _tied(index: Index, plan: Plan, step: Step) -> Step | None:
    """Return the following step of the task if a maximum gap ties it to this one."""
    steps = index.task_of[step.id].steps
    at = steps.index(step)
    if step.max_gap is not None and at + 1 < len(steps) and steps[at + 1].id in plan.starts:
        return steps[at + 1]
    return None


def _blockers(index: Index, plan: Plan, step: Step, ready: int, start: int) -> Iterator[tuple[int, str, str, str]]:
    """Yield (until, reason, thing, step) of what the step needs and others have before its start."""
    mode = step.modes[plan.modes[step.id]]
    needed = {use.device for use in mode.uses}
    wanted = {demand.resource for demand in mode.demands}
    wanted |= {hold.resource for hold in index.job_of[step.id].holds if hold.first == step.id}
    for name, other in index.step.items():
        if name == step.id or name not in plan.starts:
            continue
        end = plan.ends[name]
        if not ready < end <= start:
            continue
        theirs = other.modes[plan.modes[name]]
        for use in theirs.uses:
            if use.device in needed:
                yield end, "device", use.device, name
        for demand in theirs.demands:
            if demand.resource in wanted:
                yield end, "resource", demand.resource, name
    for job in index.problem.jobs:
        for hold in job.holds:
            if hold.resource not in wanted | needed or hold.first == step.id:
                continue
            if ready < plan.ends.get(hold.last, ready) <= start:
                kind = "device" if hold.resource in needed else "resource"
                yield plan.ends[hold.last], kind, hold.resource, hold.last
    own = {setting.device: setting.value for setting in index.job_of[step.id].settings if setting.first == step.id}
    for job in index.problem.jobs:
        for setting in job.settings:
            excludes = own.get(setting.device, setting.value) != setting.value
            if excludes and ready < plan.ends.get(setting.last, ready) <= start:
                yield plan.ends[setting.last], "device", setting.device, setting.last
    for device in needed:
        for blocked in index.device[device].blocked:
            if ready < blocked.end <= start:
                yield blocked.end, "maintenance", device, ""
