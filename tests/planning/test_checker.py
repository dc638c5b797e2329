"""The checker is itself tested with mutated plans: each kind of violation is caught, and named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduler.planning.checker import check, hard_violations
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
)

from .factory import KITCHEN_STARTS, job, kitchen_sink, plan_of, step


def kinds(problem, plan):
    return {violation.kind for violation in check(problem, plan)}


def test_a_plan_that_keeps_every_rule_has_no_violation():
    problem = kitchen_sink()
    found = check(problem, plan_of(problem, **KITCHEN_STARTS))
    assert [v.kind for v in found] == ["window"], found
    assert not hard_violations(problem, plan_of(problem, **KITCHEN_STARTS))


@pytest.mark.parametrize(
    ("change", "kind", "word"),
    [
        ({"A.mix": 9}, "lag_min", "at least 0"),
        ({"A.out": 26}, "lag_max", "at most 2"),
        ({"A.out": 21}, "lag_min", "A.out"),
        ({"B.wash": 28}, "window", "at most 6"),
        ({"E.run": 1}, "fixed", "running step E.run stands at 0..7"),
        ({"E.next": 1}, "past", "before now (2)"),
        ({"A.mix": 60, "A.hot": 64, "A.out": 74}, "deadline", "deadline of job A at 40"),
        ({"A.mix": 2, "A.hot": 6, "A.out": 16}, "device", "pump"),
        ({"D.look": 15}, "still", "arm"),
        ({"B.look": 8}, "still", "arm"),
        ({"E.next": 35}, "blocked", "service"),
        ({"C.bake": 4}, "device", "oven"),
        ({"A.mix": 4, "A.hot": 8, "A.out": 18}, "device", "pump"),
        ({"B.look": 13, "B.wash": 17}, "setup", "from blue to red"),
        ({"B.wash": 24}, "setting", "plate stays at 60C"),
    ],
)
def test_a_mutated_plan_is_caught(change, kind, word):
    problem = kitchen_sink()
    plan = plan_of(problem, **{**KITCHEN_STARTS, **change})
    found = [violation for violation in check(problem, plan) if violation.kind == kind]
    assert found, kinds(problem, plan)
    assert any(word in str(violation) for violation in found), found


def one(*steps: Step, **rest) -> Problem:
    inner = {key: rest.pop(key) for key in ("holds", "settings", "release", "deadline", "lags") if key in rest}
    jobs = tuple(Job(f"j{s.id}", (Task(s.id, (s,)),)) for s in steps[1:])
    return Problem((Job("j", (Task("t", steps[:1]),), **inner), *jobs), **rest)


@pytest.mark.parametrize(
    ("problem", "starts", "kind"),
    [
        (one(step("a", 2), release=5), {"a": 4}, "release"),
        (one(step("a", 2, earliest=5)), {"a": 4}, "release"),
        (one(step("a", 2, "r*3"), resources=(Resource("r", 2),)), {"a": 0}, "capacity"),
        (one(step("a", 2, "r*1"), step("b", 2, "r*2"), resources=(Resource("r", 2),)), {"a": 1, "b": 0},
        "capacity"), (one(step("a", 2, "r*1"), resources=(Resource("r", 1, (Outage(1, 2, 1),)),)), {"a": 0},
        "capacity"), (
            one(step("a", 2), step("b", 1, "r*1"), holds=(Hold("r", "a", "a"),), resources=(Resource("r",
            1),)), {"a": 0, "b": 1}, "capacity",
        ),
        (
            one(step("a", 9), step("b", 1, "d"), holds=(Hold("d", "a", "a"),), devices=(Device("d"),)),
            {"a": 0, "b": 4},
            "device",
        ),
        (one(step("a", 2, "d"), devices=(Device("d", (Blocked(1, 2),)),)), {"a": 0}, "blocked"),
        (one(step("a", 2, draws=(Draw("s", 3),)), stocks=(Stock("s", 2, (Refill(9, 1),)),)), {"a": 8},
        "stock"), (
            one(step("a", 2, "d", batch="x", batch_size=2), step("b", 2, "d", batch="x"), devices=(Device("d",
            batch=2),)), {"a": 0, "b": 0}, "batch",
        ),
        (
            one(step("a", 2, "d", batch="x"), step("b", 2, "d", batch="y"), devices=(Device("d", batch=2),)),
            {"a": 0, "b": 0},
            "device",
        ),
        (
            one(step("a", 2, "d", family="x"), devices=(Device("d", setups=(Setup("y", "x", 3),),
            state="y"),)), {"a": 2}, "setup",
        ),
        (
            one(
                step("a", 2),
                settings=(Setting("d", "x", "a", "a"),),
                devices=(Device("d", setups=(Setup("y", "x", 3),), state="y"),),
            ),
            {"a": 2},
            "setting",
        ),
        (one(step("a", 2), step("b", 2), lags=(Lag("a", "b", "start", "end", min=7),)), {"a": 0, "b": 4},
        "lag_min"),
    ],
)  # fmt: skip
def test_each_rule_alone(problem, starts, kind):
    assert kinds(problem, plan_of(problem, **starts)) == {kind}


@pytest.mark.parametrize(
    ("problem", "starts"),
    [
        (one(step("a", 2, "r*1"), step("b", 2, "r*1"), resources=(Resource("r", 2),)), {"a": 1, "b": 0}),
        (one(step("a", 2, "~d"), step("b", 2, "~d"), devices=(Device("d"),)), {"a": 1, "b": 0}),
        (one(step("a", 2, "d"), step("b", 0, "d"), devices=(Device("d"),)), {"a": 0, "b": 1}),
        (one(step("a", 2, "d"), step("b", 2, "d"), devices=(Device("d"),)), {"a": 0, "b": 2}),
        (one(step("a", 2, draws=(Draw("s", 2),)), stocks=(Stock("s", 1, (Refill(9, 1),)),)), {"a": 9}),
        (
            one(step("a", 2, draws=(Draw("s", -2),)), step("b", 1, draws=(Draw("s", 2),)), stocks=(Stock("s",
            0),)), {"a": 0, "b": 2},
        ),
    ],
)  # fmt: skip
def test_what_is_allowed_is_not_reported(problem, starts):
    assert check(problem, plan_of(problem, **starts)) == []


def test_shape_of_the_plan_itself():
    problem = one(step("a", 2))
    plan = plan_of(problem, a=0)
    assert kinds(problem, replace(plan, starts={})) == {"missing"}
    assert kinds(problem, replace(plan, modes={"a": 3})) == {"mode"}
    assert kinds(problem, replace(plan, ends={"a": 3})) == {"duration"}
    assert kinds(problem, replace(plan, starts={"a": 0, "x": 1})) == {"unknown"}


def test_facts_between_fixed_steps_are_not_judged_but_free_steps_beside_them_are():
    steps = (step("a", 5, "d"), step("b", 5, "d"), step("c", 1, "d"))
    problem = one(*steps, devices=(Device("d"),), fixed=(Fixed("a", 0, 9), Fixed("b", 5, 10)), now=6)
    assert kinds(problem, plan_of(problem, a=0, b=5, c=10)) == set()
    assert kinds(problem, plan_of(problem, a=0, b=5, c=8)) == {"device"}


def test_the_mode_decides_what_is_occupied():
    two = Step("a", (Mode(2, demands=(Demand("r"),)), Mode(3)))
    problem = one(two, step("b", 2, "r*1"), resources=(Resource("r", 1),))
    plan = plan_of(problem, a=0, b=0)
    assert kinds(problem, plan) == {"capacity"}
    other = replace(plan, modes={"a": 1, "b": 0}, ends={"a": 3, "b": 2})
    assert check(problem, other) == []


def test_more_open_holds_than_places_is_a_fact_that_forbids_no_plan():
    jobs = []
    for name in ("a", "b", "c"):
        hold = Hold("slots", f"{name}.in", f"{name}.out")
        jobs.append(job(name, step(f"{name}.in", 2), step(f"{name}.out", 2), holds=(hold,)))
    fixed = tuple(Fixed(f"{name}.in", 0, 2, 0, "completed") for name in ("a", "b"))
    problem = Problem(tuple(jobs), resources=(Resource("slots", 1),), fixed=fixed, now=5)
    begun = {"a__in": 0, "a__out": 5, "b__in": 0, "b__out": 5}
    plan = plan_of(problem, **begun, c__in=7, c__out=9)
    assert kinds(problem, plan) == {"fact"}
    assert not hard_violations(problem, plan)
    assert "capacity" in kinds(problem, plan_of(problem, **begun, c__in=5, c__out=9))
