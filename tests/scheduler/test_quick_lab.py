"""A planning problem done by the live scheduler in quickened lab time, as ``deploy/bench fairness`` does it."""

from __future__ import annotations

from octolab.bench.jumping import play
from scheduler.planning.network import time_alone
from scheduler.planning.problem import Demand, Device, Hold, Job, Lag, Mode, Problem, Resource, Step, Task, Use


def job(name: str, user: str, release: int) -> Job:
    """Put a sample into a slot, let it react for an hour, and see it within ten minutes; then dry it."""

    def step(part: str, minutes: int, *devices: str, place: str = "") -> Step:
        demands = (Demand(place, 1),) if place else ()
        return Step(f"{name}.{part}", (Mode(2 * minutes, tuple(map(Use, devices)), demands),), max_gap=0)

    put, see = step("put", 20, "ARM"), step("see", 15, "ARM", "UV")
    react, dry = step("react", 60), step("dry", 30, place="OVEN")
    tasks = (Task(f"{name} mix", (put, react)), Task(f"{name} look", (see,)), Task(f"{name} dry", (dry,)))
    lags = (Lag(react.id, see.id, max=20), Lag(see.id, dry.id))
    return Job(name, tasks, lags, (Hold("SLOT", put.id, see.id, 1),), user=user, project=user, release=release)


def test_a_flood_is_done_as_planned_and_delays_nobody_much() -> None:
    jobs = [*(job(f"f{n}", "flood", 0) for n in range(7)), job("light", "light", 100)]
    devices, resources = (Device("ARM"), Device("UV")), (Resource("SLOT", 2), Resource("OVEN", 1))
    problem = Problem(tuple(jobs), devices, resources, tick=30.0)
    found = play(problem)
    assert found.keys() == {one.id for one in jobs}
    light = jobs[-1]
    stretch = (found["light"]["finish_s"] / problem.tick - light.release) / time_alone(light)
    assert stretch <= 2.5
    before = [name for name in found if found[name]["finish_s"] < found["light"]["finish_s"]]
    assert len(before) <= 3, "those that had begun"
    # Nothing overruns here: two at a time, the arm with one after the other, and the last one dries.
    assert max(times["finish_s"] for times in found.values()) <= 60 * (4 * (20 + 20 + 60 + 15) + 30)
