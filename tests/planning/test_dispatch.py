"""Dispatching a shop: every schedule it builds verifies, and what it cannot keep it leaves alone."""

from __future__ import annotations

import random

import pytest

from scheduler.planning.checker import hard_violations
from scheduler.planning.dispatch import dispatch
from scheduler.planning.plan import Plan
from scheduler.planning.problem import Device, Job, Lag, Mode, Problem, Step, Task, Use
from scheduler.planning.shop import Shop
from scheduler.planning.workloads.generator import make_load

from .factory import job, step


def shop_of(seed: int) -> Problem:
    """A random flexible shop with waits between steps and releases."""
    rng = random.Random(seed)
    jobs = []
    for number in range(6):
        steps = []
        for n in range(rng.randint(1, 5)):
            modes = tuple(
                Mode(
                    rng.randint(0, 9),
                    tuple(Use(f"m{d}") for d in rng.sample(range(4), rng.choice((1, 1, 2)))),
                )
                for _ in range(rng.choice((1, 2)))
            )
            steps.append(Step(f"{number}.{n}", modes, min_gap=rng.choice((0, 0, 3))))
        jobs.append(Job(str(number), (Task(str(number), tuple(steps)),), release=rng.choice((0, 8))))
    return Problem(tuple(jobs), tuple(Device(f"m{d}") for d in range(4)))


@pytest.mark.parametrize("seed", range(20))
def test_every_schedule_verifies_and_trying_longer_is_no_worse(seed):
    problem = shop_of(seed)
    shop = Shop.of(problem)
    lengths = []
    for most in (1, 40):
        turns = iter(range(most))
        found = dispatch(shop, seed, lambda turns=turns: next(turns, None) is None)
        plan = Plan(*shop.write(found))
        assert not hard_violations(problem, plan)
        lengths.append(plan.makespan)
    assert lengths[1] <= lengths[0]


def test_what_dispatching_cannot_keep_is_left_alone():
    windows = Problem((job("a", step("a.1", 3, "arm", max_gap=2), step("a.2", 3, "arm")),), (Device("arm"),))
    back = Lag("a.1", "a.2", min=-2)
    early = Problem((job("a", step("a.1", 3, "arm"), step("a.2", 3, "arm"), lags=(back,)),), (Device("arm"),))
    for problem in (windows, early, make_load(3, seed=1)):
        assert dispatch(Shop.of(problem), 0, lambda: True) is None
