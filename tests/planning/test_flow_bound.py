"""The joint bound on the flow: never above an optimum, and worth its time."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.planning.bounds import flow_bound
from scheduler.planning.cpsat import ScheduleModel
from scheduler.planning.digest import Digest, safe_horizon
from scheduler.planning.flow_bound import joint_flow_bound
from scheduler.planning.policies import make_plan
from scheduler.planning.problem import Device, Problem
from scheduler.planning.solver import Effort
from scheduler.planning.workloads.generator import make_load

from .factory import job, random_problem, step
from .test_cpsat import later


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    rich=st.booleans(),
    guard=st.booleans(),
    share=st.sampled_from((0.0, 0.0, 0.4)),
)
def test_it_is_never_above_a_proven_optimum(seed, rich, guard, share):
    problem = random_problem(seed, jobs=4, rich=rich)
    plan = make_plan(problem, "masking")
    if plan.objective[0]:
        return
    if share:
        problem = later(problem, plan, int(plan.makespan * share))
    model = ScheduleModel(Digest(problem), safe_horizon(problem))
    answer, _ = model.minimise(model.flow("lab" if guard else "flow"), Effort(work=3.0))
    if answer.status == "optimal" and not any(one.due for one in problem.jobs):
        assert joint_flow_bound(problem, guard=guard) <= answer.value


def test_one_machine_is_bounded_exactly():
    jobs = tuple(job(str(n), step(f"{n}.1", 2 + n, "arm"), weight=1 + n % 3) for n in range(6))
    problem = Problem(jobs, (Device("arm"),))
    plan = make_plan(problem, "optimal", objective="flow")
    assert joint_flow_bound(problem) == plan.objective[2]


def test_it_says_more_than_one_device_alone():
    problem = make_load(20, seed=1)
    plan = make_plan(problem, "masking", objective="flow")
    bound = joint_flow_bound(problem)
    assert 1.05 * flow_bound(problem) < bound <= plan.objective[2]


def test_nothing_to_do_takes_no_time():
    assert joint_flow_bound(Problem((), (Device("arm"),))) == 0
