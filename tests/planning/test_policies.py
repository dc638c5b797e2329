"""Policies behind one function: valid plans, honest bounds, determinism, never worse than before."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.planning.bounds import flow_bound, makespan_bound, preemptive_one_machine
from scheduler.planning.checker import check, hard_violations
from scheduler.planning.codec import dump_plan
from scheduler.planning.limits import Limits
from scheduler.planning.objective import Objective, mean_weighted_flow
from scheduler.planning.policies import UnknownPolicyError, make_plan
from scheduler.planning.problem import Device, Fixed, Problem, ProblemError
from scheduler.planning.workloads.generator import make_load

from .factory import job, kitchen_sink, random_problem, step

QUICK = Limits(deterministic=0.02)


@pytest.mark.parametrize("policy", ["fcfs", "backfill", "masking"])
@pytest.mark.parametrize("objective", ["lab", "flow", "makespan"])
def test_every_policy_keeps_every_rule(policy, objective):
    for seed in range(6):
        problem = random_problem(seed, jobs=5)
        plan = make_plan(problem, policy, objective=objective, limits=QUICK)
        assert hard_violations(problem, plan) == []
        assert plan.objective[0] == 0
        assert plan.bound is not None
        assert plan.bound <= plan.objective[2]


def test_what_is_fixed_stays_and_everything_in_the_kitchen_sink_is_planned():
    problem = kitchen_sink()
    plan = make_plan(problem, limits=QUICK)
    assert check(problem, plan) == []
    assert (plan.starts["E.run"], plan.ends["E.run"]) == (0, 7)


def test_fcfs_has_one_job_in_the_lab_at_a_time_and_backfill_one_task_in_a_module():
    problem = make_load(5, 1)
    plan = make_plan(problem, "fcfs")
    spans = sorted(
        (min(plan.starts[s.id] for s in one.steps()), max(plan.ends[s.id] for s in one.steps())) for one in problem.jobs
    )
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(spans))
    plan = make_plan(problem, "backfill")
    by_module: dict[str, list[tuple[int, int]]] = {}
    for one in problem.jobs:
        for task in one.tasks:
            span = (plan.starts[task.steps[0].id], plan.ends[task.steps[-1].id])
            by_module.setdefault(task.module, []).append(span)
    for rows in by_module.values():
        assert all(first[1] <= second[0] for first, second in itertools.pairwise(sorted(rows)))


def test_the_same_seed_and_deterministic_limit_give_the_same_bytes():
    problem = make_load(8, 3)
    plans = {dump_plan(make_plan(problem, limits=QUICK, seed=5)) for _ in range(5)}
    assert len(plans) == 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["lab", "flow", "makespan"]))
def test_never_worse_than_the_incumbent(seed, objective):
    problem = random_problem(seed, jobs=4)
    first = make_plan(problem, objective=objective, limits=Limits(deterministic=0.01), seed=seed)
    again = make_plan(problem, "masking", incumbent=first, objective=objective, seed=seed + 1)
    assert again.objective <= first.objective
    assert hard_violations(problem, again) == []
    assert (again.base, again.version) == (first.version, first.version + 1)


def test_the_search_stops_when_it_no_longer_pays_or_is_told_to():
    problem = make_load(6, 1)
    calls = []
    limits = Limits(deterministic=50.0, patience=0.02)
    plan = make_plan(problem, limits=limits, progress=lambda spent, _: calls.append(spent))
    assert calls
    assert max(calls) < 0.5
    assert hard_violations(problem, plan) == []
    told = make_plan(problem, limits=Limits(wall=600, stop=lambda: True))
    assert hard_violations(problem, told) == []


def test_an_incumbent_that_no_longer_fits_is_not_returned():
    problem = Problem((job("a", step("a1", 4, "arm")), job("b", step("b1", 4, "arm"))), (Device("arm"),))
    old = make_plan(problem)
    later = replace(problem, now=10, fixed=(Fixed("a1", 0, 20),))
    plan = make_plan(later, incumbent=old)
    assert check(later, plan) == []
    assert plan.starts["b1"] == 20


def test_moving_what_is_about_to_start_counts_against_an_otherwise_equal_plan():
    problem = Problem((job("a", step("a1", 4, "arm")), job("b", step("b1", 4, "arm"))), (Device("arm"),))
    old = make_plan(problem)
    swapped = replace(old, starts={"a1": old.starts["b1"], "b1": old.starts["a1"]})
    judge = Objective(problem, "lab", old)
    assert judge(old.starts, old.ends, old.modes)[4] == 0
    assert judge(swapped.starts, old.ends, old.modes)[4] == 8


def test_the_stretch_guard_makes_one_long_wait_dearer_than_several_short_ones():
    jobs = tuple(job(f"j{n}", step(f"s{n}", 10, "arm")) for n in range(6))
    problem = Problem(jobs, (Device("arm"),))
    ends = {f"s{n}": 10 * (n + 1) for n in range(6)}
    lab = Objective(problem, "lab").flow(ends)
    flow = Objective(problem, "flow").flow(ends)
    assert flow == 210
    assert lab == 210 + (40 - 30) + (50 - 30) + (60 - 30)


def brute_force(problem: Problem) -> tuple[int, int]:
    """Best makespan and flow of one-step jobs on one device, by all orders."""
    best = []
    steps = {one.id: next(one.steps()) for one in problem.jobs}
    for order in itertools.permutations(problem.jobs):
        time, flow = 0, 0
        for one in order:
            time = max(time, one.release) + steps[one.id].modes[0].duration
            flow += one.weight * (time - one.release)
        best.append((time, flow))
    return min(row[0] for row in best), min(row[1] for row in best)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 12), st.integers(1, 4)), min_size=1, max_size=5))
def test_bounds_never_exceed_the_optimum_and_the_search_finds_it(rows):
    jobs = tuple(
        job(f"j{n}", step(f"s{n}", length, "arm"), release=release, weight=weight)
        for n, (length, release, weight) in enumerate(rows)
    )
    problem = Problem(jobs, (Device("arm"),))
    makespan, flow = brute_force(problem)
    assert makespan_bound(problem) <= makespan
    assert flow_bound(problem) <= flow
    plan = make_plan(problem, objective="flow", limits=Limits(deterministic=0.5))
    # Insertion into gaps in some order can be better than any order of starts without gaps: never worse.
    assert plan.objective[2] == flow


def test_the_one_machine_bound_is_jacksons():
    assert preemptive_one_machine([(0, 5, 10), (2, 3, 20), (4, 4, 0)]) == 25
    assert preemptive_one_machine([]) == 0


def test_names_and_malformed_problems_are_refused():
    with pytest.raises(UnknownPolicyError, match="no policy is called 'best'"):
        make_plan(kitchen_sink(), "best")
    with pytest.raises(ProblemError, match="unknown device drill"):
        make_plan(Problem((job("a", step("s", 1, "drill")),)))


def test_a_job_without_a_place_is_named_and_the_others_are_planned():
    problem = Problem((job("a", step("a1", 4, "slots*9")), job("b", step("b1", 4))), resources=kitchen_sink().resources)
    plan = make_plan(problem)
    assert set(plan.unplaced) == {"a"}
    assert plan.starts == {"b1": 0}
    assert plan.status == "unknown"


def test_nothing_to_plan():
    plan = make_plan(Problem(()))
    assert (plan.starts, plan.objective[:3], mean_weighted_flow(Problem(()), plan)) == ({}, (0, 0, 0), 0.0)


def test_the_live_table_loads_no_solver():
    code = "import sys, scheduler.planning; print({'ortools', 'numpy', 'django'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
