"""Time slices: whatever they rearrange keeps every rule and is no longer than before."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.planning.checker import hard_violations
from scheduler.planning.policies import make_plan
from scheduler.planning.problem import Problem
from scheduler.planning.shop import Shop
from scheduler.planning.slices import Slicer
from scheduler.planning.workloads.generator import make_load

from .factory import random_problem


def harden(problem: Problem) -> Problem:
    """Drop what shops do not know: soft windows, settings, calendars, stocks, keeping still."""
    jobs = []
    for job in problem.jobs:
        tasks = tuple(
            replace(
                task,
                steps=tuple(
                    replace(
                        step,
                        gap_cost=None,
                        max_gap=None if step.gap_cost is not None else step.max_gap,
                        draws=(),
                        modes=tuple(
                            replace(mode, uses=tuple(replace(use, still=False) for use in mode.uses))
                            for mode in step.modes
                        ),
                    )
                    for step in task.steps
                ),
            )
            for task in job.tasks
        )
        lags = tuple(replace(lag, max=None, cost=None) for lag in job.lags)
        jobs.append(replace(job, tasks=tasks, lags=lags, settings=()))
    return replace(
        problem,
        jobs=tuple(jobs),
        devices=tuple(replace(device, blocked=()) for device in problem.devices),
        resources=tuple(replace(resource, outages=()) for resource in problem.resources),
        stocks=(),
    )


def follow(problem: Problem, seed: int, turns: int, size: float) -> tuple[int, int]:
    """Run some turns, verify each arrangement, and return the length before and after."""
    plan = make_plan(problem, "masking", objective="makespan")
    if plan.objective[0]:
        return 0, 0
    shop = Shop.of(problem)
    assert shop is not None
    slicer = Slicer(shop, shop.read(plan), seed)
    slicer.size = size
    last = plan.makespan
    assert slicer.last <= last
    for _ in range(turns):
        slicer.turn(lambda: False)
        for arrangement in (slicer.best, slicer.current):
            starts, ends, modes = shop.write(arrangement)
            assert not hard_violations(problem, replace(plan, starts=starts, ends=ends, modes=modes))
        starts, ends, modes = shop.write(slicer.best)
        assert max(ends.values()) == slicer.last <= last
        last = slicer.last
    return plan.makespan, last


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_every_turn_keeps_every_rule(seed):
    follow(harden(random_problem(seed, jobs=5)), seed, turns=40, size=8.0)


def test_a_laboratory_with_holds_and_windows_gets_shorter():
    before, after = follow(make_load(8, seed=3), seed=1, turns=25, size=40.0)
    assert after < before


def test_a_problem_with_other_rules_is_no_shop():
    assert Shop.of(random_problem(1)) is None
