"""Tabu search: whatever it finds keeps every rule, is as short as it says, and is the best on small shops."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.planning.bounds import lower_bound
from scheduler.planning.checker import check
from scheduler.planning.dispatch import dispatch
from scheduler.planning.limits import Limits
from scheduler.planning.plan import Plan
from scheduler.planning.policies import make_plan
from scheduler.planning.problem import Demand, Device, Job, Mode, Problem, Resource, Step, Task, Use
from scheduler.planning.shop import Shop
from scheduler.planning.tabu import TabuSearch, is_job_shop


def random_shop(seed: int, jobs: int = 5, machines: int = 4) -> Problem:
    """A job shop with releases, zero-length steps, and jobs that may come back to a machine."""
    rng = random.Random(seed)
    made = []
    for number in range(jobs):
        route = [rng.randrange(machines) for _ in range(rng.randint(1, machines + 1))]
        steps = [
            Step(f"{number}.{n}", (Mode(rng.randint(0, 20), (Use(str(machine)),)),)) for n, machine in enumerate(route)
        ]
        made.append(Job(str(number), (Task(str(number), tuple(steps)),), release=rng.choice((0, 0, 15))))
    return Problem(tuple(made), tuple(Device(str(n)) for n in range(machines)))


def shop_of(problem: Problem) -> Shop:
    """The problem as a shop."""
    shop = Shop.of(problem)
    assert shop is not None
    return shop


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 100_000))
def test_what_is_found_keeps_every_rule_and_is_as_short_as_it_says(seed):
    problem = random_shop(seed)
    shop = shop_of(problem)
    start = dispatch(shop, seed, lambda: True)
    assert start is not None
    search = TabuSearch(shop, start, seed)
    assert search.last <= shop.makespan(start)
    turns = iter(range(40))
    search.run(lambda: next(turns, None) is None, lambda: None, lower_bound(problem, "makespan"))
    plan = Plan(*shop.write(search.found()))
    assert not check(problem, plan)
    assert plan.makespan == search.last


def test_small_shops_are_solved_to_the_optimum():
    solved = 0
    for seed in range(12):
        problem = random_shop(seed, 6, 5)
        best = make_plan(problem, "optimal", objective="makespan", limits=Limits(deterministic=2.0))
        assert best.status == "optimal"
        shop = shop_of(problem)
        start = dispatch(shop, seed, lambda: True)
        assert start is not None
        search = TabuSearch(shop, start, seed)
        turns = iter(range(200))
        search.run(lambda turns=turns: next(turns, None) is None, lambda: None, best.makespan)
        assert search.last >= best.makespan
        solved += search.last == best.makespan
    assert solved >= 10


def test_only_plain_job_shops_are_searched():
    problem = random_shop(1)
    assert is_job_shop(shop_of(problem))
    step = Step("more", (Mode(1, (Use("0"),)), Mode(2, (Use("1"),))))
    flexible = Problem((*problem.jobs, Job("more", (Task("more", (step,)),))), problem.devices)
    assert not is_job_shop(shop_of(flexible))
    step = Step("more", (Mode(1, (Use("0"),), (Demand("power"),)),))
    project = Problem((Job("more", (Task("more", (step,)),)),), problem.devices, (Resource("power", 1),))
    assert not is_job_shop(shop_of(project))
