"""The CP-SAT model agrees with the checker and the objective, for whole problems and for parts of them."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.planning.checker import hard_violations
from scheduler.planning.cpsat import ScheduleModel
from scheduler.planning.digest import Digest, safe_horizon
from scheduler.planning.objective import Objective
from scheduler.planning.plan import Plan
from scheduler.planning.policies import make_plan
from scheduler.planning.problem import Blocked, Demand, Device, Fixed, Problem, Resource, Stock
from scheduler.planning.solver import Effort

from .factory import job, kitchen_sink, random_problem, step

EFFORT = Effort(work=1.0)


def later(problem: Problem, plan: Plan, now: int) -> Problem:
    """The same problem some time on: what has started by then is fixed."""
    fixed = tuple(
        Fixed(
            name,
            start,
            plan.ends[name],
            plan.modes[name],
            "running" if plan.ends[name] > now else "completed",
        )
        for name, start in plan.starts.items()
        if start < now
    )
    return replace(problem, now=now, fixed=fixed)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), rich=st.booleans(), share=st.sampled_from((0.0, 0.0, 0.3, 0.6)))
def test_a_solution_verifies_and_is_worth_what_the_model_says(seed, rich, share):
    problem = random_problem(seed, jobs=3, rich=rich)
    plan = make_plan(problem, "masking")
    if plan.objective[0]:
        return
    if share:
        problem = later(problem, plan, int(plan.makespan * share))
    for at, value in ((1, "windows"), (2, "flow"), (3, "makespan")):
        model = ScheduleModel(Digest(problem), safe_horizon(problem), kept=plan)
        goal = model.flow("lab") if value == "flow" else getattr(model, value)()
        answer, spans = model.minimise(goal, EFFORT)
        assert spans is not None, "the plan itself is a solution"
        found = replace(plan, starts=spans[0], ends=spans[1], modes=spans[2])
        assert not hard_violations(problem, found)
        worth = Objective(problem)(*spans)
        if answer.status == "optimal":
            assert worth[at] == answer.value
            assert answer.value <= Objective(problem)(plan.starts, plan.ends, plan.modes)[at]
        else:
            assert worth[at] <= answer.value


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), pick=st.randoms(use_true_random=False))
def test_a_part_is_planned_around_what_is_kept(seed, pick):
    problem = random_problem(seed, jobs=4)
    plan = make_plan(problem, "masking")
    if plan.objective[0]:
        return
    names = [name.id for name in problem.steps()]
    free = set(pick.sample(names, len(names) // 2))
    model = ScheduleModel(Digest(problem), 2 * plan.makespan + 10, free, plan)
    _, spans = model.minimise(model.flow("lab"), EFFORT)
    assert spans is not None
    assert all(spans[0][name] == plan.starts[name] for name in names if name not in free)
    assert not hard_violations(problem, replace(plan, starts=spans[0], ends=spans[1], modes=spans[2]))


def test_everything_at_once_is_solved_and_verifies():
    problem = kitchen_sink()
    model = ScheduleModel(Digest(problem), safe_horizon(problem))
    answer, spans = model.minimise(model.makespan(), EFFORT)
    assert answer.status == "optimal"
    assert not hard_violations(problem, Plan(*spans))


@pytest.mark.parametrize("seed", range(8))
def test_the_optimum_of_tiny_problems_is_the_one_that_trying_everything_finds(seed):
    problem = random_problem(seed, jobs=2, rich=False)
    jobs = tuple(replace(one, tasks=one.tasks[:1], lags=(), release=0) for one in problem.jobs)
    jobs = tuple(replace(one, tasks=(replace(one.tasks[0], steps=one.tasks[0].steps[:2]),), holds=()) for one in jobs)
    jobs = tuple(
        replace(
            one,
            tasks=(
                replace(
                    one.tasks[0],
                    steps=tuple(
                        replace(s, modes=tuple(replace(m, duration=min(m.duration, 3)) for m in s.modes[:1]))
                        for s in one.tasks[0].steps
                    ),
                ),
            ),
        )
        for one in jobs
    )
    problem = replace(problem, jobs=jobs)
    steps = list(problem.steps())
    best = None
    for times in product(range(10), repeat=len(steps)):
        starts = {s.id: at for s, at in zip(steps, times, strict=True)}
        ends = {s.id: at + s.modes[0].duration for s, at in zip(steps, times, strict=True)}
        if best is not None and max(ends.values()) >= best:
            continue
        if not hard_violations(problem, Plan(starts, ends, dict.fromkeys(starts, 0))):
            best = max(ends.values())
    model = ScheduleModel(Digest(problem), safe_horizon(problem))
    answer, _ = model.minimise(model.makespan(), EFFORT)
    assert answer.status == "optimal"
    assert best is None or answer.value == best


def test_facts_that_break_rules_do_not_forbid_a_plan():
    # b.1 is late: it runs into maintenance, and into another step that runs on the arm.
    problem = Problem(
        (
            job("a", step("a.1", 5, "arm"), step("a.2", 3, "arm")),
            job("b", step("b.1", 5, "arm"), step("b.2", 3, "pump")),
        ),
        (Device("arm", (Blocked(8, 20),)), Device("pump")),
        now=6,
        fixed=(Fixed("a.1", 3, 7), Fixed("b.1", 1, 10)),
    )
    model = ScheduleModel(Digest(problem), safe_horizon(problem))
    answer, spans = model.minimise(model.makespan(), EFFORT)
    assert answer.status == "optimal"
    assert spans[0]["a.2"] == 20
    assert spans[0]["b.2"] == 10


def test_what_cannot_be_is_proven_infeasible():
    problem = Problem(
        (job("a", step("a.1", 5, "arm", max_gap=2), step("a.2", 3, "arm")),),
        (Device("arm", (Blocked(4, 9),)),),
        stocks=(Stock("tips", 0),),
    )
    late = replace(problem, jobs=(replace(problem.jobs[0], deadline=16),))
    answer, spans = ScheduleModel(Digest(late), safe_horizon(late)).minimise(0, EFFORT)
    assert (answer.status, spans) == ("infeasible", None)


def test_demand_of_a_free_step_is_kept_beside_constants():
    problem = Problem(
        (job("a", step("a", 6, "slots*2")), job("b", step("b", 4, "slots*2"))), (), (Resource("slots", 3),)
    )
    plan = make_plan(problem, "masking")
    assert problem.jobs[0].tasks[0].steps[0].modes[0].demands == (Demand("slots", 2),)
    model = ScheduleModel(Digest(problem), 40, {"b"}, plan)
    _, spans = model.minimise(model.flow("flow"), EFFORT)
    assert spans[0]["b"] >= plan.ends["a"] or spans[0]["a"] >= spans[1]["b"]
