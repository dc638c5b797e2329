"""A laboratory in fast motion: arrivals that nobody knew of, work that runs early or late, devices that fail.

The simulation holds a `LiveTable`, as the scheduler process does, and asks a policy for better plans. Steps
start when the plan in force says so, and follow what ends early; how long they really take is drawn when they
start and told to the table only as it shows: a step that should have ended is extended again and again until it
does.
"""

from __future__ import annotations

import heapq
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from scheduler.planning.forward import bring_forward
from scheduler.planning.limits import Limits
from scheduler.planning.live import LiveTable
from scheduler.planning.objective import Objective, ObjectiveName
from scheduler.planning.plan import Plan
from scheduler.planning.policies import make_plan
from scheduler.planning.problem import Blocked, Job, Lag, Problem, Step, Task, chain_lags

PROOF = Limits(deterministic=1.0)
"""Effort to find a plan that keeps a window that the plan in force breaks."""


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What goes wrong.

    Attributes
    ----------
    sigma
        Standard deviation of the logarithm of durations of steps that occupy a device; standby is exact.
    failures_per_hour
        Rate at which each device fails while it is used; the step on it is delayed by the downtime.
    downtime
        Hours that a failed device is not available.
    """

    sigma: float = 0.0
    failures_per_hour: float = 0.0
    downtime: float = 0.5


@dataclass(slots=True)
class Outcome:
    """What happened. Times in ticks, costs in seconds of process time.

    A breach is `avoidable` if a verified plan without it existed when it was decided on, and was searched for
    and found; or if nobody saw it coming.
    """

    finish: dict[str, int] = field(default_factory=dict)
    starts: dict[str, int] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    windows: int = 0
    breached: int = 0
    avoidable: int = 0
    failures: int = 0
    repairs: int = 0
    insert_seconds: list[float] = field(default_factory=list)
    repair_seconds: list[float] = field(default_factory=list)
    replan_seconds: list[float] = field(default_factory=list)
    predictions: list[tuple[int, int]] = field(default_factory=list)

    def mean_flow(self, problem: Problem, *, weighted: bool = True) -> float:
        """Return the mean flow time in ticks, weighted by the jobs' weights if asked."""
        weights = {job.id: job.weight if weighted else 1 for job in problem.jobs}
        total = sum(weights[job.id] * (self.finish[job.id] - job.release) for job in problem.jobs)
        return total / sum(weights.values())

    def plan(self) -> Plan:
        """Return what was executed as a plan."""
        return Plan(self.starts, self.ends, self.modes, method="executed")


class Simulation:
    """Runs one problem through time.

    Parameters
    ----------
    problem
        Jobs become known at their release.
    policy
        Name of the policy that improves after each arrival, or `None` to insert once and never re-plan.
    limits
        Of each call of the policy.
    objective
        Which objective decides whether a plan is better.
    disturbance, seed
        What goes wrong; the same seed gives the same disturbances for any policy.
    on_event
        Called with the present tick after each event, e.g. for a progress bar.
    """

    def __init__(
        self,
        problem: Problem,
        policy: str | None = "masking",
        *,
        limits: Limits | None = None,
        objective: ObjectiveName = "flow",
        disturbance: Disturbance | None = None,
        seed: int = 0,
        on_event: Callable[[int], None] | None = None,
    ) -> None:
        self.problem = problem
        self.policy, self.limits, self.objective = policy, limits or Limits(), objective
        self.disturbance = disturbance or Disturbance()
        self.seed = seed
        self.on_event = on_event
        self.live = LiveTable(replace(problem, jobs=(), fixed=()))
        self.outcome = Outcome()
        self.events: list[tuple[int, int, str]] = []
        self.real_end: dict[str, int] = {}
        self.awaited: dict[str, int] = {}
        self.early = False
        self.left: dict[str, int] = {}
        self.steps: dict[str, Step] = {}
        self.seen_breaches: set[Lag] = set()

    def run(self) -> Outcome:
        """Play until every job is done."""
        arrivals = sorted(self.problem.jobs, key=lambda job: job.release)
        at = 0
        while at < len(arrivals) or self.left:
            now = self._next_time(arrivals[at].release if at < len(arrivals) else None)
            self.live.advance(now)
            self._ends(now)
            arrived = False
            while at < len(arrivals) and arrivals[at].release <= now:
                self._arrive(arrivals[at])
                at += 1
                arrived = True
            self._settle(arrived)
            self._starts(now)
            if self.on_event is not None:
                self.on_event(now)
        self._count_windows()
        return self.outcome

    def _next_time(self, arrival: int | None) -> int:
        times = [] if arrival is None else [arrival]
        if self.events:
            times.append(self.events[0][0])
        planned = self.live.next_start()
        if planned is not None:
            times.append(planned)
        return max(self.live.now, min(times))

    # --- what happens

    def _arrive(self, job: Job) -> None:
        begin = time.process_time()
        place = self.live.insert(job)
        if not place.placed:
            place = self.live.insert(job, elastic=True)
        self.outcome.insert_seconds.append(time.process_time() - begin)
        if not place.placed:
            raise ValueError(f"job {job.id} has no place: {place.reason}")
        self.left[job.id] = sum(1 for _ in job.steps())
        self.steps.update({step.id: step for step in job.steps()})

    def _ends(self, now: int) -> None:
        while self.events and self.events[0][0] <= now:
            _, _, name = heapq.heappop(self.events)
            end = self.real_end[name]
            if end > now:
                # Late: nobody knows how long it will take, so expect a little more.
                length = self.steps[name].modes[self.outcome.modes[name]].duration
                expected = now + max(1, length // 10)
                self.awaited[name] = min(expected, end) if end - now <= 1 else expected
                self.live.extend(name, self.awaited[name])
                heapq.heappush(self.events, (min(expected, end), 0, name))
                continue
            self.early = self.early or now < self.awaited[name]
            self.live.complete(name, now)
            self.outcome.ends[name] = now
            job = self.live.job_of(name)
            self.left[job] -= 1
            if self.left[job] == 0:
                del self.left[job]
                self.outcome.finish[job] = now
                self.live.forget(job)

    def _settle(self, arrived: bool) -> None:
        if self.live.dirty:
            begin = time.process_time()
            self.live.repair()
            self.outcome.repairs += 1
            self.outcome.repair_seconds.append(time.process_time() - begin)
            if new := self._new_breaches():
                self._improve(self.limits if self.policy else Limits(deterministic=0.2))
                if any(late(lag, self.live.plan()) > 0 for lag in new):
                    self._improve(PROOF, "optimal")
                    self._look_for_better(new)
        elif arrived and self.policy is not None:
            self._improve(self.limits)
        if arrived and self.policy is not None and self.outcome.repairs and self.live.dirty:
            self.live.repair()
        if self.early:
            self._follow()

    def _follow(self) -> None:
        """Let everything follow what ended early: the plan's order counts, not its clock."""
        self.early = False
        problem, plan = self.live.problem(), self.live.plan()
        spans = bring_forward(problem, plan)
        if spans is not None and spans[0] != plan.starts:
            self.live.adopt(Plan(*spans, version=plan.version))

    def _new_breaches(self) -> list[Lag]:
        """Return the windows that the plan in force breaks and no earlier plan broke."""
        plan = self.live.plan()
        new = [
            lag for lag in self._windows(self.live.problem()) if lag not in self.seen_breaches and late(lag, plan) > 0
        ]
        self.seen_breaches.update(new)
        return new

    def _look_for_better(self, lags: list[Lag]) -> None:
        """Count breaches that could be avoided: a verified plan keeps the window and costs less in all."""
        problem, plan = self.live.problem(), self.live.plan()
        cost = Objective(problem, self.objective, None).windows(plan.starts, plan.ends)
        for lag in lags:
            if late(lag, plan) > 0:
                hard = strict(problem, lag)
                found = make_plan(hard, "optimal", limits=PROOF, seed=self.seed + 1, objective=self.objective)
                self.outcome.avoidable += found.objective[0] == 0 and found.objective[1] < cost

    def _improve(self, limits: Limits, policy: str | None = None) -> None:
        begin = time.process_time()
        problem, incumbent = self.live.problem(), self.live.plan()
        better = make_plan(
            problem,
            policy or self.policy or "masking",
            incumbent=incumbent,
            limits=limits,
            seed=self.seed,
            objective=self.objective,
        )
        value = Objective(problem, self.objective, incumbent)(incumbent.starts, incumbent.ends, incumbent.modes)
        if better.objective < value and not better.unplaced:
            self.live.adopt(better)
        self.outcome.replan_seconds.append(time.process_time() - begin)

    def _starts(self, now: int) -> None:
        while due := self.live.due(now):
            for _, name in due:
                self._start(name, now)
                if self.live.dirty:
                    self.live.repair()
                    break

    def _start(self, name: str, now: int) -> None:
        step, mode = self.steps[name], self.live.mode_of(name)
        length = step.modes[mode].duration
        end = now + self._real_length(step, mode)
        self.real_end[name] = end
        self.outcome.starts[name], self.outcome.modes[name] = now, mode
        self.awaited[name] = now + length
        self.live.pin(name, now, now + length, "running", mode)
        heapq.heappush(self.events, (min(end, now + length), 0, name))

    def _real_length(self, step: Step, mode: int) -> int:
        length = step.modes[mode].duration
        trouble = self.disturbance
        if not length or not step.modes[mode].uses or (not trouble.sigma and not trouble.failures_per_hour):
            return length
        rng = random.Random(f"{self.seed} {step.id}")
        real = max(1, round(length * rng.lognormvariate(0.0, trouble.sigma)))
        hours = real * self.problem.tick / 3600
        if rng.random() < trouble.failures_per_hour * hours:
            down = round(trouble.downtime * 3600 / self.problem.tick)
            real += down
            self._fail(step.modes[mode].uses[0].device, down)
        return real

    def _fail(self, device: str, down: int) -> None:
        self.outcome.failures += 1
        now = self.live.now
        self.live.change(
            devices=tuple(
                replace(one, blocked=(*one.blocked, Blocked(now, now + down, "failure"))) if one.id == device else one
                for one in self.live.problem().devices
            )
        )

    # --- counting

    @staticmethod
    def _windows(problem: Problem) -> list[Lag]:
        lags = [lag for job in problem.jobs for task in job.tasks for lag in chain_lags(task)]
        lags.extend(lag for job in problem.jobs for lag in job.lags)
        lags.extend(problem.lags)
        return [lag for lag in lags if lag.max is not None]

    def _count_windows(self) -> None:
        executed = self.outcome.plan()
        for lag in self._windows(self.problem):
            self.outcome.windows += 1
            if late(lag, executed) > 0:
                self.outcome.breached += 1
                # Every breach is first seen in a plan; the search then looked for one without it.
                if lag not in self.seen_breaches:
                    self.outcome.avoidable += 1


def late(lag: Lag, plan: Plan) -> int:
    """Return by how many ticks a plan exceeds a maximum lag; 0 if it keeps it or lacks a step."""
    if lag.max is None or lag.first not in plan.starts or lag.second not in plan.starts:
        return 0
    first = plan.ends[lag.first] if lag.first_point == "end" else plan.starts[lag.first]
    second = plan.ends.get(lag.second, 0) if lag.second_point == "end" else plan.starts[lag.second]
    return max(0, second - first - lag.max)


def strict(problem: Problem, promise: Lag) -> Problem:
    """Return the problem with one window made hard, whether it is a lag or a gap in a task."""

    def lag_of(lag: Lag) -> Lag:
        return replace(lag, cost=None) if lag == promise else lag

    def task_of(task: Task) -> Task:
        hard = {lag.first for lag in chain_lags(task) if lag == promise}
        return replace(
            task, steps=tuple(replace(step, gap_cost=None) if step.id in hard else step for step in task.steps)
        )

    jobs = tuple(
        replace(job, tasks=tuple(map(task_of, job.tasks)), lags=tuple(map(lag_of, job.lags))) for job in problem.jobs
    )
    return replace(problem, jobs=jobs, lags=tuple(map(lag_of, problem.lags)))


def soften(problem: Problem, cost: int = 1) -> Problem:
    """Return the problem with every hard maximum lag made a window that costs `cost` per tick beyond."""

    def lag_of(lag: Lag) -> Lag:
        return replace(lag, cost=cost) if lag.max is not None and lag.cost is None else lag

    def step_of(step: Step) -> Step:
        hard = step.max_gap is not None and step.gap_cost is None
        return replace(step, gap_cost=cost) if hard else step

    jobs = tuple(
        replace(
            job,
            tasks=tuple(replace(task, steps=tuple(map(step_of, task.steps))) for task in job.tasks),
            lags=tuple(map(lag_of, job.lags)),
        )
        for job in problem.jobs
    )
    return replace(problem, jobs=jobs, lags=tuple(map(lag_of, problem.lags)))
