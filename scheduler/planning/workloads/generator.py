"""Seeded loads of an OCTOPUS-like laboratory with several modules, all times in half minutes.

The generator of the planning measurements: two arms, four pumps, a centrifuge, a pipette, a spectrometer and
a chromatograph, 16 stirrer slots and 8 furnace places. Three types of jobs run on 2 to 8 samples, with
windows between tasks and standby while a mixture reacts or dries.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from scheduler.planning.problem import (
    Demand,
    Device,
    Hold,
    Job,
    Lag,
    Mode,
    Problem,
    Resource,
    Step,
    Task,
    Use,
)

TICK = 30.0
DEVICES = ("ARM1", "ARM2", "PUMP1", "PUMP2", "PUMP3", "PUMP4", "CENT", "PIP", "UV", "LC")
Segments = Sequence[tuple[int, tuple[str, ...]]]


class _Maker:
    """Builds one job; `vial` splits preparation, additions, transfers and spectra by sample."""

    def __init__(self, name: str, rng: random.Random, *, vial: bool) -> None:
        self.name, self.rng, self.vial = name, rng, vial
        self.tasks: list[Task] = []
        self.lags: list[Lag] = []
        self.holds: list[Hold] = []

    def task(self, kind: str, segments: Segments, demand: Demand | None = None) -> Task:
        """Add a rigid task of consecutive segments, each with its devices (none: standby)."""
        number = len(self.tasks)
        steps = []
        for n, (duration, devices) in enumerate(segments):
            demands = (demand,) if demand is not None else ()
            mode = Mode(duration, tuple(Use(device) for device in devices), demands)
            steps.append(Step(f"{self.name}.{number}.{n}", (mode,), max_gap=0))
        steps[-1] = replace(steps[-1], max_gap=None)
        task = Task(f"{self.name}.{number} {kind}", tuple(steps), module=MODULES[kind])
        self.tasks.append(task)
        return task

    def after(self, before: Sequence[Task], task: Task, window: int | None = None) -> None:
        """Let `task` follow all of `before`, within `window` of the last of them."""
        for other in before:
            self.lags.append(Lag(other.steps[-1].id, task.steps[0].id, max=window))

    def split(self, kind: str, count: int, per: Segments, whole: Segments) -> list[Task]:
        """Return one task for each sample at vial level, else one for all."""
        return [self.task(kind, per) for _ in range(count)] if self.vial else [self.task(kind, whole)]


MODULES = {
    "Prepare": "synthesis", "Add": "synthesis", "React": "synthesis", "Move": "synthesis", "UV": "uv",
    "Cent": "centrifuge", "Wash": "centrifuge", "Dry": "furnace", "LC": "lc", "Load": "uv",
}  # fmt: skip


def make_job(name: str, rng: random.Random, *, vial: bool = False) -> tuple[Job, int]:
    """Return one random job and the time in ticks that it needs the first arm."""
    size = rng.choice((2, 4, 6, 8))
    user = f"user{rng.randrange(4)}"
    weight = rng.choice((1, 1, 1, 2, 4))
    kind = rng.choices("ABC", (50, 20, 30))[0]
    make = _Maker(name, rng, vial=vial)
    if kind == "B":
        load = make.task("Load", [(size, ("ARM1",))])
        spectra = _spectra(make, size)
        _follow(make, [load], spectra, 20)
    else:
        last = _synthesis(make, size)
        if kind == "A":
            _follow(make, last, _spectra(make, size), 20)
        else:
            _workup(make, last, size)
    job = Job(
        name,
        tuple(make.tasks),
        tuple(make.lags),
        tuple(make.holds),
        user=user,
        project=user,
        weight=weight,
    )
    arm = sum(step.modes[0].duration for step in job.steps() for use in step.modes[0].uses if use.device == "ARM1")
    return job, arm


def _follow(make: _Maker, before: list[Task], tasks: list[Task], window: int | None) -> None:
    """Chain `tasks` after `before`: the first within the window, the others in order."""
    make.after(before, tasks[0], window)
    for one, two in pairwise(tasks):
        make.after([one], two)


def _synthesis(make: _Maker, size: int) -> list[Task]:
    prepare = make.split("Prepare", size, [(2, ("ARM1",))], [(2 * size, ("ARM1",))])
    for one, two in pairwise(prepare):
        make.after([one], two)
    before = prepare
    for _ in range(make.rng.randint(2, 4)):
        pump = f"PUMP{make.rng.randint(1, 4)}"
        add = make.split("Add", size, [(3, ("ARM1", pump))], [(3 * size, ("ARM1", pump))])
        _follow(make, before[-1:], add, None)
        before = add
    react = make.rng.choice((40, 80, 120, 160, 240))
    reaction = make.task("React", [(4, ("ARM1",)), (react, ()), (4, ("ARM1",))])
    make.after(before[-1:], reaction, 20)
    move = make.split("Move", size, [(2, ("ARM1",))], [(2 * size, ("ARM1",))])
    _follow(make, [reaction], move, 10)
    first, last = prepare[0].steps[0].id, move[-1].steps[-1].id
    make.holds.append(Hold("STIR", first, last, size))
    return move[-1:]


def _spectra(make: _Maker, size: int, device: str = "UV") -> list[Task]:
    one: Segments = [(2, ("ARM1", device)), (6, (device,)), (1, ("ARM1", device))]
    return make.split("UV", size, one, [segment for _ in range(size) for segment in one])


def _workup(make: _Maker, before: list[Task], size: int) -> None:
    spin: Segments = [(2, ("ARM2", "CENT")), (24, ("CENT",)), (2, ("ARM2", "CENT"))]
    for window_spin, window_wash in ((30, 10), (30, 10)):
        cent = make.task("Cent", spin)
        make.after(before, cent, window_spin)
        wash = make.task("Wash", [(2 * size, ("ARM2", "PIP"))])
        make.after([cent], wash, window_wash)
        before = [wash]
    dry = make.rng.choice((120, 240, 360))
    drying = make.task("Dry", [(6, ("ARM2",)), (dry, ()), (6, ("ARM2",))], Demand("FURN", size))
    make.after(before, drying)
    if make.rng.random() < 0.5:
        _follow(make, [drying], _spectra(make, size), None)
    else:
        middle = 16 * size
        lc = make.task("LC", [(2, ("ARM1", "LC")), (middle, ("LC",)), (2, ("ARM1", "LC"))])
        make.after([drying], lc)


def make_load(jobs: int, seed: int, *, vial: bool = False, rho: float | None = None) -> Problem:
    """Return a load of `jobs` random jobs.

    Parameters
    ----------
    jobs, seed
        The same pair gives the same jobs.
    vial
        Whether tasks are split into single samples.
    rho
        `None` releases everything at 0 ("batch"). Otherwise jobs arrive with exponential gaps, such that the
        first arm is loaded to this fraction ("online").
    """
    rng = random.Random(seed)
    made = []
    arms = []
    for number in range(jobs):
        job, arm = make_job(f"j{number:03d}", random.Random(rng.random()), vial=vial)
        made.append(job)
        arms.append(arm)
    if rho is not None:
        mean = sum(arms) / len(arms) / rho
        time = 0.0
        released = []
        for job in made:
            released.append(replace(job, release=int(time)))
            time += rng.expovariate(1 / mean)
        made = released
    name = f"{'vial' if vial else 'lab'}-{jobs}-s{seed}" + (f"-rho{rho}" if rho is not None else "")
    return Problem(
        tuple(made),
        tuple(Device(device) for device in DEVICES),
        (Resource("STIR", 16), Resource("FURN", 8)),
        tick=TICK,
        name=name,
    )
