"""How often predicted ranges hold, over whole jobs in a busy lab and over single tasks."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from statistics import fmean

from scheduler.planning.bench.noise import loose
from scheduler.planning.bench.report import Settings, Table
from scheduler.planning.calibration import Calibration, Scales, score
from scheduler.planning.durations import DurationModel, Range
from scheduler.planning.forecast import predict_finishes
from scheduler.planning.limits import Limits
from scheduler.planning.problem import Device, Job, Lag, Mode, Problem, Step, Task, Use
from scheduler.planning.simulate import Disturbance, Simulation, soften
from scheduler.planning.workloads.generator import make_load
from scheduler.planning.workloads.octopus_like import like_a, like_b

SIGMA = 0.3
WARM = 1
"""Loads that are not counted: nobody has seen this lab before."""


@dataclass(frozen=True, slots=True)
class Told:
    """What somebody was told at `made`, in ticks, and what it was made of."""

    made: int
    found: Range
    scales: Scales
    told: Range


@dataclass(frozen=True, slots=True)
class Fate:
    """What was told at `made`, and what happened, in ticks."""

    made: float
    told: Range
    value: float

    @property
    def ahead(self) -> float:
        """How far off it was."""
        return self.told.median - self.made

    @property
    def error(self) -> float:
        """Real minus predicted, as a share of what lay ahead."""
        return (self.value - self.told.median) / max(1.0, self.ahead)


@dataclass
class Lab:
    """What a lab has learnt, and how its predictions have fared."""

    model: DurationModel = field(default_factory=DurationModel)
    starts: Calibration = field(default_factory=Calibration)
    finishes: Calibration = field(default_factory=Calibration)
    fates: dict[str, list[Fate]] = field(default_factory=lambda: defaultdict(list))
    """By what was predicted: ``start`` and ``finish`` of a job, length of a ``task``."""


class Predicting(Simulation):
    """Predicts each job when it comes, and scores that when it is done."""

    def __init__(self, problem: Problem, lab: Lab, seed: int, bias: dict[str, float], *, counted: bool) -> None:
        super().__init__(problem, None, limits=Limits(), disturbance=Disturbance(sigma=SIGMA), seed=seed)
        self.lab, self.bias, self.counted = lab, bias, counted
        self.kinds = {
            step.id: f"{task.module}/{len(step.modes[0].uses)}"
            for job in problem.jobs
            for task in job.tasks
            for step in task.steps
            if step.modes[0].uses
        }
        self.said: dict[str, int] = {}
        """How long each step was said to take, in ticks."""
        self.new: list[str] = []
        self.told: dict[str, tuple[Told, Told]] = {}
        """Start and finish of each job that is not done."""
        self.expected: dict[str, Range] = {}

    def _real_length(self, step: Step, mode: int) -> int:
        length, kind = self.said[step.id], self.kinds.get(step.id)
        if kind is None or not length:
            return length
        rng = random.Random(f"{self.seed} {step.id}")
        return max(1, round(length * self.bias[kind] * rng.lognormvariate(0.0, SIGMA)))

    def _arrive(self, job: Job) -> None:
        self.said.update({step.id: step.modes[0].duration for step in job.steps()})
        super()._arrive(self._learnt(job))
        self.new.append(job.id)

    def _learnt(self, job: Job) -> Job:
        """Return the job with the durations that the lab plans with."""

        def learnt(step: Step) -> Step:
            mode = step.modes[0]
            length = round(self.lab.model.expected(self.kinds.get(step.id, ""), mode.duration))
            return replace(step, modes=(replace(mode, duration=max(length, min(1, mode.duration))),))

        tasks = (replace(task, steps=tuple(map(learnt, task.steps))) for task in job.tasks)
        return replace(job, tasks=tuple(tasks))

    def _settle(self, arrived: bool) -> None:
        super()._settle(arrived)
        if self.new:
            found = predict_finishes(
                self.live.problem(), self.live.plan(), self.lab.model, self.kinds, lengths=self.said
            )
            for name in self.new:
                start, finish = found[name]
                self.told[name] = self._tell(self.lab.starts, start), self._tell(self.lab.finishes, finish)
            self.new = []

    def _tell(self, calibration: Calibration, found: Range) -> Told:
        now = self.live.now
        return Told(now, found, calibration.scales, calibration.apply(found, now))

    def _start(self, name: str, now: int) -> None:
        if name in self.kinds:
            self.expected[name] = self.lab.model.range(self.kinds[name], self.said[name])
        super()._start(name, now)

    def _ends(self, now: int) -> None:
        open_before, ended_before = set(self.left), set(self.outcome.ends)
        super()._ends(now)
        for name in self.outcome.ends.keys() - ended_before:
            if name in self.kinds:
                length = self.said[name]
                real = now - self.outcome.starts[name]
                if self.counted and length:
                    self.lab.fates["task"].append(Fate(0, self.expected[name], real))
                self.lab.model.observe(self.kinds[name], length, real)
        for name in open_before - set(self.left):
            self._score(name)

    def _score(self, name: str) -> None:
        start, finish = self.told.pop(name)
        job = next(job for job in self.problem.jobs if job.id == name)
        began = min(self.outcome.starts[step.id] for step in job.steps())
        self._learn("start", self.lab.starts, start, began)
        self._learn("finish", self.lab.finishes, finish, self.outcome.finish[name])

    def _learn(self, kind: str, calibration: Calibration, told: Told, value: int) -> None:
        if self.counted:
            self.lab.fates[kind].append(Fate(told.made, told.told, value))
        calibration.observe(score(told.found, value), told.scales)


@dataclass(frozen=True, slots=True)
class Workload:
    """Loads of one kind, one after the other in one lab; `make` returns the one with a number and a seed."""

    make: Callable[[int, int], Problem]
    loads: int


WORKLOADS: dict[str, Workload] = {
    "busy lab": Workload(lambda number, seed: busy_lab(100, seed, rho=0.6 if number % 2 else 0.8), 13),
    "online": Workload(lambda _, seed: _promised(make_load(50, seed, rho=0.6)), 7),
    "batch": Workload(lambda _, seed: _promised(make_load(15, seed)), 13),
    "like OCTOPUS A": Workload(lambda _, seed: like_a(50, seed), 13),
    "like OCTOPUS B": Workload(lambda _, seed: _promised(like_b(20, seed)), 9),
}


def _promised(problem: Problem) -> Problem:
    """Return the problem with windows that may break: no step is ever as long as it was said to be."""
    return loose(soften(problem))


def predictions(settings: Settings) -> Table:
    """Predictions made at submit under log-normal noise of 0.3: how often 80 % ranges hold, of jobs and of tasks."""
    columns = (
        "workload", "seed", "jobs", "finish held %", "too early %", "too late %", "width %", "bias %", "start held %",
        "tasks", "tasks held %",
    )  # fmt: skip
    table = Table(f"predictions when jobs are submitted, sigma {SIGMA}", columns)
    cases = [(name, seed) for name in WORKLOADS for seed in range(1, settings.seeds + 1)]
    whole: dict[str, list[Fate]] = defaultdict(list)
    for name, seed in settings.each(cases, "predictions"):
        fates = watch(WORKLOADS[name], seed).fates
        for kind, rows in fates.items():
            whole[kind] += rows
        finishes, tasks = fates["finish"], fates["task"]
        width = sum(fate.told.high - fate.told.low for fate in finishes) / sum(fate.ahead for fate in finishes)
        table.add(
            name, seed, len(finishes), _held(finishes),
            _percent(fate.value < fate.told.low for fate in finishes),
            _percent(fate.value > fate.told.high for fate in finishes),
            100 * width, _percent(fate.error for fate in finishes), _held(fates["start"]), len(tasks), _held(tasks),
        )  # fmt: skip
    words = ", ".join(f"{kind} {_held(rows):.1f} % of {len(rows)}" for kind, rows in whole.items())
    table.notes.append(f"all together: {words}")
    table.notes.append(
        "finish and start: of whole jobs, as told at submit; width and bias: in percent of what lay ahead; tasks: "
        "lengths of single steps; jobs that came later and repairs of the plan are in them"
    )
    return table


def _held(fates: list[Fate]) -> float:
    return _percent(fate.told.holds(fate.value) for fate in fates)


def _percent(parts: Iterable[float]) -> float:
    return 100 * fmean(parts)


def watch(workload: Workload, seed: int) -> Lab:
    """Let a lab that nobody has seen yet work through some loads, and return what it has learnt."""
    lab, rng = Lab(), random.Random(seed)
    bias: dict[str, float] = {}
    for number in range(workload.loads):
        problem = workload.make(number, 1000 * seed + number)
        run = Predicting(problem, lab, 1000 * seed + number, bias, counted=number >= WARM)
        for kind in sorted(set(run.kinds.values()) - bias.keys()):
            bias[kind] = math.exp(rng.uniform(-0.2, 0.3))
        run.run()
    return lab


def busy_lab(count: int, seed: int, *, rho: float) -> Problem:
    """Return jobs of two to six steps (ticks are seconds) that come at random to six devices, loaded by `rho`."""
    rng, devices, jobs, at = random.Random(seed), 6, [], 0.0
    lengths = (60, 120, 300, 900)
    for number in range(count):
        tasks, lags = [], []
        for k in range(rng.randint(2, 6)):
            device = f"d{rng.randrange(devices)}"
            step = Step(f"{number}.{k}", (Mode(rng.choice(lengths), (Use(device),)),))
            tasks.append(Task(f"{number}.{k}", (step,), module=device))
            if k:
                lags.append(Lag(f"{number}.{k - 1}", step.id, min=rng.choice((0, 0, 600))))
        jobs.append(Job(f"job {number}", tuple(tasks), lags=tuple(lags), release=int(at)))
        at += rng.expovariate(rho * devices / (4 * sum(lengths) / len(lengths)))
    return Problem(tuple(jobs), tuple(Device(f"d{n}") for n in range(devices)))
