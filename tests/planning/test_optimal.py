"""The optimal policy: never worse, verified, proven where it says so, the same again, and in time."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.planning.checker import hard_violations
from scheduler.planning.codec import dump_plan
from scheduler.planning.cpsat import ScheduleModel
from scheduler.planning.digest import Digest, safe_horizon
from scheduler.planning.limits import Limits
from scheduler.planning.network import alone
from scheduler.planning.policies import make_plan
from scheduler.planning.problem import Blocked, Device, Problem
from scheduler.planning.solver import Effort
from scheduler.planning.workloads.generator import make_load

from .factory import job, random_problem, step
from .test_cpsat import later

OBJECTIVES = ("lab", "flow", "makespan")


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    objective=st.sampled_from(OBJECTIVES),
    base=st.sampled_from(("fcfs", "backfill", "masking")),
    share=st.sampled_from((0.0, 0.3)),
)
def test_it_is_never_worse_and_verifies(seed, objective, base, share):
    problem = random_problem(seed, jobs=5)
    incumbent = make_plan(problem, base, objective=objective)
    if incumbent.objective[0]:
        return
    if share:
        problem = later(problem, incumbent, int(incumbent.makespan * share))
        incumbent = make_plan(problem, "masking", incumbent=incumbent, objective=objective)
    told = []
    plan = make_plan(
        problem,
        "optimal",
        incumbent=incumbent,
        limits=Limits(deterministic=0.3),
        objective=objective,
        progress=lambda spent, better: told.append((spent, better.objective)),
    )
    assert plan.objective <= incumbent.objective
    assert not hard_violations(problem, plan) or incumbent.objective[0]
    assert [value for _, value in told] == sorted((value for _, value in told), reverse=True)
    assert all(0 <= spent <= 1 for spent, _ in told)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), objective=st.sampled_from(OBJECTIVES))
def test_a_bound_is_never_above_an_optimum_found_elsewhere(seed, objective):
    problem = random_problem(seed, jobs=3)
    plan = make_plan(problem, "optimal", objective=objective, limits=Limits(deterministic=0.3))
    model = ScheduleModel(Digest(problem), safe_horizon(problem))
    model.cp.add(model.windows() <= plan.objective[1])
    goal = model.makespan() if objective == "makespan" else model.flow(objective)
    answer, _ = model.minimise(goal, Effort(work=2.0, seed=7))
    if answer.status == "optimal" and not plan.objective[0]:
        assert plan.bound <= answer.value
        if plan.status == "optimal":
            assert plan.objective[2] == answer.value


def test_flow_comes_before_makespan_and_makespan_before_churn():
    problem = Problem((job("long", step("l", 9, "arm")), job("short", step("s", 2, "arm"), weight=3)), (Device("arm"),))
    before = make_plan(problem, "fcfs")
    plan = make_plan(problem, "optimal", incumbent=before)
    assert plan.starts == {"s": 0, "l": 2}
    assert plan.status == "optimal"
    assert plan.bound == plan.objective[2]
    assert plan.gap == 0


def test_what_is_about_to_start_stays_where_it_is_if_nothing_is_gained():
    jobs = tuple(job(name, step(f"{name}.1", 5, "arm")) for name in "abc")
    problem = Problem(jobs, (Device("arm"),), tick=60.0)
    before = make_plan(problem, "masking")
    turned = replace(
        before,
        starts={"a.1": 10, "b.1": 0, "c.1": 5},
        ends={"a.1": 15, "b.1": 5, "c.1": 10},
    )
    plan = make_plan(problem, "optimal", incumbent=turned, limits=Limits(deterministic=1.0))
    assert plan.starts == turned.starts


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_same_seed_and_deterministic_limit_give_the_same_bytes(objective):
    problem = make_load(8, seed=4)
    plans = {
        dump_plan(make_plan(problem, "optimal", limits=Limits(deterministic=0.4), seed=3, objective=objective))
        for _ in range(3)
    }
    assert len(plans) == 1


def test_another_seed_may_search_elsewhere_but_not_break_anything():
    problem = make_load(12, seed=1)
    for seed in range(3):
        plan = make_plan(problem, "optimal", limits=Limits(deterministic=0.4), seed=seed)
        assert not hard_violations(problem, plan)


def test_many_jobs_are_improved_by_neighbourhoods_and_the_near_horizon():
    problem = make_load(30, seed=2)
    start = make_plan(problem, "masking", objective="flow")
    plan = make_plan(problem, "optimal", limits=Limits(deterministic=3.0), objective="flow")
    assert plan.objective < start.objective
    assert not hard_violations(problem, plan)
    assert plan.bound <= plan.objective[2]


def test_it_stops_when_told_and_when_it_no_longer_pays():
    problem = make_load(30, seed=2)
    began = time.monotonic()
    plan = make_plan(problem, "optimal", limits=Limits(wall=500.0, stop=lambda: time.monotonic() > began + 1.0))
    assert not hard_violations(problem, plan)
    tired = make_plan(make_load(3, seed=1), "optimal", limits=Limits(wall=500.0, patience=0.5))
    assert tired.status in ("optimal", "feasible")
    assert time.monotonic() - began < 200


def test_an_impossible_problem_is_called_impossible_and_a_possible_one_is_not():
    arm = (Device("arm", (Blocked(4, 9),)),)
    chain = (step("a.1", 5, "arm", max_gap=2), step("a.2", 3, "arm"))
    possible = Problem((job("a", *chain, deadline=17),), arm)
    plan = make_plan(possible, "optimal")
    assert plan.status == "optimal"
    assert plan.makespan == 17
    assert make_plan(Problem((job("a", *chain, deadline=16),), arm), "optimal").status == "infeasible"


def test_no_job_is_faster_than_alone():
    problem = make_load(4, seed=9)
    plan = make_plan(problem, "optimal", objective="flow")
    for one in problem.jobs:
        assert max(plan.ends[s.id] for s in one.steps()) >= alone(problem)[one.id]


def test_nothing_to_do_is_done():
    assert make_plan(Problem((), (Device("arm"),)), "optimal").status == "optimal"
