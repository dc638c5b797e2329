"""Answers to people: why it waits, why it cannot be done, what would happen if."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduler.planning.checker import hard_violations
from scheduler.planning.explain import Explainer, why_waiting
from scheduler.planning.infeasible import explain_infeasible, relax
from scheduler.planning.limits import Limits
from scheduler.planning.live import LiveTable
from scheduler.planning.policies import make_plan
from scheduler.planning.problem import (
    Blocked,
    Device,
    Fixed,
    Job,
    Lag,
    Problem,
    Refill,
    Resource,
    Stock,
    Task,
)
from scheduler.planning.whatif import what_if

from .factory import job, random_problem, step


def lab(*jobs: Job, **rest) -> Problem:
    rest.setdefault("devices", (Device("arm"), Device("cam")))
    return Problem(jobs, resources=(Resource("slots", 3),), tick=60.0, **rest)


def test_it_waits_for_a_device_and_would_start_earlier_without_its_holder():
    live = LiveTable(lab())
    live.insert(job("a", step("a1", 20, "arm")))
    live.insert(job("b", step("b1", 5, "arm")))
    found = why_waiting(live.problem(), live.plan(), "b")
    assert (found.reason, found.thing, found.holder_job, found.until) == ("device", "arm", "a", 20)
    assert found.sentence().startswith("b1 waits for arm, which job a has for another 20 min; without job a")
    assert "job a" not in found.sentence(names=False)
    assert {(one.change, one.gain, one.cost) for one in found.remedies} == {
        ("without job a", 20, 0),
        ("if it went first", 20, 5),
    }


def test_it_waits_for_a_running_job_that_nothing_can_move():
    problem = lab(job("a", step("a1", 20, "arm")), job("b", step("b1", 5, "arm")), fixed=(Fixed("a1", 0, 20),), now=5)
    plan = LiveTable(problem).plan()
    found = why_waiting(problem, plan, "b1")
    assert found.sentence() == "b1 waits for arm, which job a has for another 15 min."


def test_it_waits_for_maintenance_its_own_job_its_release_or_nothing():
    devices = (Device("arm", (Blocked(0, 30, "service"),)), Device("cam"))
    jobs = (
        job("a", step("a1", 5, "arm")),
        job("b", step("b1", 5, "cam"), step("b2", 5)),
        job("c", step("c1", 5), release=9),
    )
    problem = lab(*jobs, devices=devices)
    plan = LiveTable(problem).plan()
    assert why_waiting(problem, plan, "a1").reason == "maintenance"
    assert (
        "without the blocked time of arm it would start 30 min earlier" in why_waiting(problem, plan, "a1").sentence()
    )
    assert why_waiting(problem, plan, "b2").holder_step == "b1"
    assert why_waiting(problem, plan, "c1").reason == "release"
    assert why_waiting(problem, plan, "b1").reason == "nothing"
    with pytest.raises(KeyError):
        why_waiting(problem, plan, "nobody")


def test_a_first_step_waits_because_what_must_follow_it_has_no_place():
    live = LiveTable(lab())
    live.insert(job("a", step("a1", 20, "cam")))
    live.insert(job("b", step("b1", 5, "arm", max_gap=2), step("b2", 5, "cam")))
    found = why_waiting(live.problem(), live.plan(), "b")
    assert (found.thing, found.holder_job) == ("cam", "a")


def test_without_another_job_nobody_else_gives_way():
    """What a job would gain without another is what becomes free then, not what it would gain by going first."""
    live = LiveTable(lab())
    for name, length in (("run", 10), ("one", 30), ("two", 20), ("mine", 20)):
        live.insert(job(name, step(f"{name}1", length, "arm")))
    live.pin("run1", 0, 10)
    found = why_waiting(live.problem(), live.plan(), "mine")
    assert (found.start, found.holder_job) == (60, "two")
    gains = {remedy.kind: (remedy.start, remedy.gain) for remedy in found.remedies}
    assert gains == {"without": (40, 20), "first": (10, 50)}


@pytest.mark.parametrize("seed", range(12))
def test_what_is_asked_before_changes_no_answer(seed):
    """An explainer keeps what its questions have in common, and each leaves it as it was."""
    problem = random_problem(seed)
    plan = make_plan(problem, "masking", limits=Limits(wall=0.05), seed=1)
    names = [one.id for job in problem.jobs for one in job.steps() if one.id in plan.starts]
    explainer = Explainer(problem, plan)
    told = [explainer.why(name) for name in names]
    assert told == [why_waiting(problem, plan, name) for name in names]
    assert told == [explainer.why(name) for name in names]


def test_a_window_that_maintenance_cuts_gets_the_least_window_that_works():
    devices = (Device("arm"), Device("cam", (Blocked(0, 17, "service"), Blocked(24, 10_000, "broken"))))
    one = job("j", step("s1", 5, "arm", max_gap=5), step("s2", 5, "cam"), deadline=30, release=2)
    problem = lab(devices=devices)
    assert explain_infeasible(problem, one) is None
    late = lab(job("run", step("r", 10, "arm")), devices=devices, fixed=(Fixed("r", 8, 18),))
    found = explain_infeasible(late, one)
    assert found is not None
    assert {rule.kind for rule in found.conflict} <= {"window", "blocked", "job", "deadline"}
    assert found.proposal == "works if the window from s1 to s2 is 9 min instead of 5 min"
    window = next(rule for rule in found.conflict if rule.kind == "window")
    for value, works in ((9, True), (8, False)):
        frame, changed = relax(late, one, window, value)
        assert (explain_infeasible(frame, changed) is None) is works


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (job("j", step("s", 5, "slots*4")), "s needs 4 of slots, only 3 exist"),
        (job("j", step("s", 5), deadline=3), "even alone, job j ends 2 min after its deadline"),
        (
            Job("j", (Task("t", (step("s", 5), step("u", 5))),), (Lag("s", "u", max=3), Lag("s", "u", min=9))),
            "contradict each other by 6 ticks",
        ),
    ],
)
def test_rules_that_contradict_each_other_without_any_other_job(one, words):
    found = explain_infeasible(lab(), one)
    assert found is not None
    assert words in str(found)


def test_a_stock_that_is_never_filled():
    from scheduler.planning.problem import Draw

    one = job("j", step("s", 5, draws=(Draw("tips", 9),)))
    problem = replace(lab(), stocks=(Stock("tips", 3, (Refill(50, 4),)),))
    found = explain_infeasible(problem, one)
    assert found is not None
    assert "takes 9 of tips, with all deliveries 7 will be there" in str(found)


def test_a_deadline_behind_the_queue():
    problem = lab(job("a", step("a1", 30, "arm")))
    plan = make_plan(problem)
    one = job("j", step("s", 5, "arm"), deadline=20)
    assert explain_infeasible(problem, one) is None
    found = explain_infeasible(problem, one, plan)
    assert found is not None
    assert {rule.kind for rule in found.conflict} == {"queue", "deadline"}
    assert found.proposal == "works if the deadline is 15 min later"


def test_every_rule_of_the_conflict_is_needed():
    devices = (Device("arm", (Blocked(0, 10), Blocked(14, 20))), Device("cam", (Blocked(8, 16),)))
    one = job("j", step("s1", 5, "arm", max_gap=1), step("s2", 5, "cam"), deadline=25)
    problem = lab(devices=devices)
    found = explain_infeasible(problem, one)
    assert found is not None
    for rule in found.conflict:
        assert explain_infeasible(*relax(problem, one, rule, None)) is None


@pytest.mark.parametrize("seed", range(5))
def test_what_if_keeps_nothing_and_what_it_shows_is_possible(seed):
    problem = replace(random_problem(seed), stocks=random_problem(seed).stocks)
    live = LiveTable(problem)
    before = live.plan()
    shown = what_if(
        problem,
        before,
        add=[job("new", step("new1", 6, "d1"))],
        maintenance={"d0": Blocked(30, 60, "service")},
    )
    assert live.plan() == before
    assert shown.diff.added == ("new1",)
    assert shown.finishes["new"] == shown.plan.ends["new1"]
    assert not [v for v in hard_violations(shown.problem, shown.plan) if v.kind != "lag_max"]


def test_what_if_a_device_is_lost():
    problem = lab(job("a", step("a1", 5, "arm")), job("b", step("b1", 5, "cam")))
    shown = what_if(problem, make_plan(problem), lose=["arm"])
    assert shown.unplaced == {"a": "it needs a device that is not there"}
    assert "b1" in shown.plan.starts
