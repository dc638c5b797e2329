"""Small problems for the planning tests, by hand and at random."""

from __future__ import annotations

import random

from scheduler.planning.plan import Plan
from scheduler.planning.problem import (
    Blocked,
    Demand,
    Device,
    Draw,
    Fixed,
    Hold,
    Job,
    Lag,
    Mode,
    Outage,
    Problem,
    Refill,
    Resource,
    Setting,
    Setup,
    Step,
    Stock,
    Task,
    Use,
)


def step(name: str, duration: int, *devices: str, **rest) -> Step:
    """One mode; a device written ``~arm`` is only kept still, ``slots*2`` is a demand."""
    uses, demands = [], []
    for device in devices:
        if "*" in device:
            resource, quantity = device.split("*")
            demands.append(Demand(resource, int(quantity)))
        else:
            uses.append(Use(device.lstrip("~"), device.startswith("~")))
    return Step(name, (Mode(duration, tuple(uses), tuple(demands)),), **rest)


def job(name: str, *steps: Step, **rest) -> Job:
    """A job of one task."""
    return Job(name, (Task(f"{name}.t", steps, module=rest.pop("module", "m")),), **rest)


def plan_of(problem: Problem, **starts: int) -> Plan:
    """A plan with all first modes and the given starts; step ids have their dots written ``__``."""
    named = {name.replace("__", "."): start for name, start in starts.items()}
    ends, modes = {}, {}
    fixed = {item.step: item for item in problem.fixed}
    for one in problem.steps():
        if one.id in named:
            modes[one.id] = 0
            ends[one.id] = fixed[one.id].end if one.id in fixed else named[one.id] + one.modes[0].duration
    return Plan(named, ends, modes)


def random_problem(seed: int, *, jobs: int = 4, rich: bool = True) -> Problem:
    """A feasible-by-construction problem: hard windows only inside chains that nothing else can cut."""
    rng = random.Random(seed)
    devices = [f"d{i}" for i in range(rng.randint(2, 4))]
    made = []
    for number in range(jobs):
        tasks, holds, lags, settings = [], [], [], []
        for t in range(rng.randint(1, 3)):
            steps = []
            length = rng.randint(1, 4)
            for s in range(length):
                modes = []
                for _ in range(rng.choice((1, 1, 2)) if rich else 1):
                    chosen = rng.sample(devices, rng.choice((1, 1, 2)))
                    uses = tuple(Use(d, rich and rng.random() < 0.2) for d in chosen)
                    demands = (Demand("slots", rng.randint(1, 3)),) if rng.random() < 0.3 else ()
                    modes.append(Mode(rng.randint(0 if rich else 1, 9), uses, demands))
                if rng.random() < 0.2:
                    modes = [Mode(rng.randint(1, 20))]
                low = rng.choice((0, 0, 0, 2, 5))
                high = rng.choice((None, None, low, low + 3, low + 10))
                cost = rng.choice((None, None, 3)) if high is not None else None
                draws = (Draw("tips", rng.randint(1, 2)),) if rich and rng.random() < 0.1 else ()
                steps.append(Step(f"{number}.{t}.{s}", tuple(modes), low, high, gap_cost=cost, draws=draws))
            if rng.random() < 0.4:
                first = rng.randrange(length)
                holds.append(Hold("slots", f"{number}.{t}.{first}", f"{number}.{t}.{length - 1}"))
            if rich and rng.random() < 0.2:
                value = rng.choice("xy")
                settings.append(Setting("plate", value, f"{number}.{t}.0", f"{number}.{t}.{length - 1}"))
            if tasks and rng.random() < 0.7:
                last = tasks[-1].steps[-1].id
                lags.append(Lag(last, f"{number}.{t}.0", max=rng.choice((None, None, 30, 8)), cost=2))
            tasks.append(Task(f"{number}.{t}", tuple(steps), module=rng.choice("mn")))
        made.append(
            Job(
                str(number),
                tuple(tasks),
                tuple(lags),
                tuple(holds),
                tuple(settings),
                user=rng.choice("uvw"),
                weight=rng.choice((1, 1, 4)),
                release=rng.choice((0, 0, 7, 20)),
            )
        )
    blocked = (Blocked(15, 22, "service"),) if rich else ()
    return Problem(
        tuple(made),
        (*(Device(d, blocked if d == "d0" else ()) for d in devices), Device("plate")),
        (Resource("slots", 4, (Outage(10, 14, 2),) if rich else ()),),
        (Stock("tips", 20, (Refill(60, 400),)),),
        name=f"random {seed}",
    )


def kitchen_sink() -> Problem:
    """A problem that has one of everything; `KITCHEN_STARTS` solves it."""
    a = job(
        "A",
        step("A.mix", 4, "arm", "pump", max_gap=0),
        step("A.hot", 10, "slots*1", max_gap=2),
        step("A.out", 2, "arm", draws=(Draw("tips", 2),)),
        holds=(Hold("slots", "A.mix", "A.out", 2),),
        settings=(Setting("plate", "60C", "A.mix", "A.hot"),),
        deadline=40,
        weight=2,
    )
    b = job(
        "B",
        step("B.look", 3, "cam", "~arm", family="blue", max_gap=6, gap_cost=3),
        step("B.wash", 2, "cam", family="red"),
        release=1,
        due=20,
        settings=(Setting("plate", "80C", "B.wash", "B.wash"),),
    )
    c = job("C", step("C.bake", 8, "oven", batch="glass", batch_size=3), lags=())
    d = job("D", step("D.bake", 8, "oven", batch="glass", batch_size=4), step("D.look", 2, "~arm"))
    e = job("E", step("E.run", 5, "pump"), step("E.next", 1, "pump"))
    f = job(
        "F",
        step("F.load", 1, "arm", max_gap=20),
        step("F.far", 3),
        step("F.unload", 1, "arm"),
        holds=(Hold("cell", "F.load", "F.unload"),),
    )
    return Problem(
        (a, b, c, d, e, f),
        (
            Device("arm"),
            Device("pump", (Blocked(30, 40, "service"),)),
            Device("cam", setups=(Setup("blue", "red", 4),), state="blue"),
            Device("oven", batch=8),
            Device("plate", setups=(Setup("60C", "80C", 3),)),
            Device("cell"),
        ),
        (Resource("slots", 4, (Outage(0, 3, 1),)),),
        (Stock("tips", 1, (Refill(12, 5),)),),
        lags=(Lag("A.mix", "B.look", max=30),),
        fixed=(Fixed("E.run", 0, 7, 0, "running"),),
        now=2,
        tick=60.0,
        name="kitchen sink",
    )


KITCHEN_STARTS = {
    "E.run": 0,
    "E.next": 7,
    "A.mix": 8,
    "A.hot": 12,
    "A.out": 22,
    "B.look": 12,
    "B.wash": 25,
    "C.bake": 3,
    "D.bake": 3,
    "D.look": 12,
    "F.load": 15,
    "F.far": 16,
    "F.unload": 24,
}
