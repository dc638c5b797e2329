from __future__ import annotations

import json

import pytest

from scheduler.planning.codec import (
    DecodeError,
    dump_plan,
    dump_problem,
    json_schema,
    load_plan,
    load_problem,
)
from scheduler.planning.plan import diff
from scheduler.planning.problem import Device, Fixed, Lag, Problem, ProblemError
from scheduler.planning.validate import validate

from .factory import KITCHEN_STARTS, job, kitchen_sink, plan_of, random_problem, step


@pytest.mark.parametrize("problem", [kitchen_sink(), random_problem(1), random_problem(2)], ids=lambda p: p.name)
def test_a_problem_survives_json(problem):
    validate(problem)
    assert load_problem(dump_problem(problem)) == problem


def test_a_plan_survives_json_and_equal_plans_give_equal_bytes():
    plan = plan_of(kitchen_sink(), **KITCHEN_STARTS)
    text = dump_plan(plan)
    assert load_plan(text) == plan
    assert dump_plan(load_plan(text)) == text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(colour="red"), "unknown field 'colour'"),
        (lambda d: d["jobs"][0].pop("id"), "jobs[0]: field 'id' is missing"),
        (lambda d: d["jobs"][0].update(weight=True), "jobs[0].weight: expected int"),
        (lambda d: d["jobs"][0].update(weight=1.5), "jobs[0].weight: expected int"),
        (lambda d: d["fixed"][0].update(state="gone"), "fixed[0].state: expected one of"),
        (lambda d: d.update(schema_version=9), "schema_version 9"),
        (lambda d: d.update(jobs={}), "jobs: expected a list"),
    ],
)
def test_reading_refuses_what_does_not_fit_and_says_where(change, message):
    data = json.loads(dump_problem(kitchen_sink()))
    change(data)
    with pytest.raises(DecodeError) as caught:
        load_problem(json.dumps(data))
    assert message in str(caught.value)


def test_not_json():
    with pytest.raises(DecodeError, match="not JSON"):
        load_problem("{")


def test_the_schema_names_every_field_of_a_problem_file():
    schema = json_schema()

    def walk(data, node):
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
        if isinstance(data, dict):
            for key, value in data.items():
                walk(value, node["properties"][key])
        elif isinstance(data, list):
            for item in data:
                walk(item, node["items"])

    walk(json.loads(dump_problem(kitchen_sink())), schema)
    assert schema["$defs"]["Step"]["required"] == ["id", "modes"]


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        (Problem((job("a", step("s", 1, "arm")),)), "uses the unknown device arm"),
        (Problem((job("a", step("s", -1)),)), "lasts -1 ticks"),
        (Problem((job("a", step("s", 1), step("s", 1)),)), "the step id s is used twice"),
        (Problem((job("a", step("s", 1, min_gap=4, max_gap=2), step("t", 1)),)), "at least 4 and at most 2"),
        (Problem((job("a", step("s", 1)),), lags=(Lag("s", "x"),)), "unknown step x"),
        (Problem((job("a", step("s", 1)),), fixed=(Fixed("x", 0, 1),)), "fixed step x does not exist"),
        (Problem((), (Device("arm"), Device("arm"))), "device or resource id arm is used twice"),
    ],
)
def test_a_malformed_problem_is_named(problem, sentence):
    with pytest.raises(ProblemError) as caught:
        validate(problem)
    assert sentence in str(caught.value)


def test_a_diff_reads_as_a_sentence():
    problem = kitchen_sink()
    old = plan_of(problem, **KITCHEN_STARTS)
    new = plan_of(problem, **{**KITCHEN_STARTS, "B.wash": 29, "D.look": 11})
    assert str(diff(problem, old, new)) == "2 steps moved, worst +4 min for job B"
    assert str(diff(problem, old, old)) == "nothing changed"
