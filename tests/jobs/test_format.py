"""The job format: what is wrong with a document is told with path and remedy."""

# ruff: noqa: E501 - sentences are quoted whole

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.jobformat import JobDocument, JobRefused, Problem, parse, schema
from tests.jobs.lab import catalogue, example, messages

MINIMAL = {"name": "x", "workflow": [{"task": "virtual.noop"}]}


def refused(document: Any) -> dict[str, str]:
    with pytest.raises(JobRefused) as error:
        parse(document)
    return messages(error.value.problems)


@pytest.mark.parametrize(
    ("change", "path", "sentence"),
    [
        ({"name": 5}, "/name", "This must be a text; put it in quotes."),
        ({"name": ""}, "/name", "This must have at least 1 character."),
        ({"prioritty": 1}, "/prioritty", "`prioritty` is not known here. Did you mean `priority`?"),
        ({"priority": 11}, "/priority", "This must be less than or equal to 10."),
        ({"priority": 1.5}, "/priority", "This must be a whole number."),
        ({"priority": True}, "/priority", "This must be a whole number."),
        ({"retries": 6}, "/retries", "This must be less than or equal to 5."),
        ({"format": 2}, "/format", "This can be `1`."),
        ({"end": "eaten"}, "/end", "This can be `stored`."),
        ({"tags": "a"}, "/tags", "This must be a list."),
        ({"parameters": {"1x": 1}}, "/parameters", "`1x` is not a name: use letters, digits and `_`, and start with a letter."),
        ({"parameters": {"a": [1] * 201}}, "/parameters/a", "A list has at most 200 values, this one has 201."),
        ({"samples": 0}, "/samples", "This must be greater than or equal to 1."),
        ({"samples": 501}, "/samples", "This must be less than or equal to 500."),
        ({"samples": "six"}, "/samples", "This must be a whole number."),
        ({"samples": []}, "/samples", "This must have at least 1 item."),
        ({"samples": [5]}, "/samples/0", "This must be a mapping (`key: value`)."),
        ({"samples": [{"wiht": {}}]}, "/samples/0/wiht", "`wiht` is not known here. Did you mean `with`?"),
        ({"samples": [{"from": "there"}]}, "/samples/0/from", "This can be `made`."),
        ({"samples": [{"from": {"sample": "x"}}]}, "/samples/0/from/sample", "This must be the id of a sample, such as 0190163d-8694-739b-aea5-966c26f8ad90."),
        ({"samples": {"sweep": {}}}, "/samples/sweep", "This must have at least 1 item."),
        ({"samples": {"sweep": {"a": 5}}}, "/samples/sweep/a", "This must be a list."),
        ({"samples": {"sweep": {"a": {"from": 1}}}}, "/samples/sweep/a", "`to` is missing: last value; with `step` the last that is not beyond."),
        ({"samples": {"sweep": {"a": [1]}, "combine": "x"}}, "/samples/combine", "This can be `product` or `zip`."),
        ({"workflow": []}, "/workflow", "This must have at least 1 item."),
        ({"workflow": {}}, "/workflow", "This must be a list."),
        ({"workflow": [{"id": "a"}]}, "/workflow/0", "`task` is missing: what is done: `module.task`."),
        ({"workflow": [{"task": "a.b", "id": "5"}]}, "/workflow/0/id", "`5` is not a name: use letters, digits and `_`; start with a letter."),
        ({"workflow": [{"task": "a.b", "after": [1]}]}, "/workflow/0/after", "This must be a number, or a text with a number and a unit, such as `5 min`."),
        ({"workflow": [{"task": "a.b", "on_breach": "x"}]}, "/workflow/0/on_breach", "This can be `flag`, `fail` or `ask`."),
        ({"workflow": [{"task": "a.b", "with": [1]}]}, "/workflow/0/with", "This must be a mapping (`key: value`)."),
    ],
)  # fmt: skip
def test_refusals(change: dict[str, Any], path: str, sentence: str) -> None:
    assert refused({**MINIMAL, **change}) == {path: sentence}


def test_all_problems_are_told_at_once_and_in_human_words() -> None:
    with pytest.raises(JobRefused) as error:
        parse("name: 5\npriority: 99\nworkflow:\n  - {task: a.b}\n  - {id: two, tsk: a.b}\n")
    spoken = [str(problem) for problem in error.value.problems]
    assert spoken == [
        "name: This must be a text; put it in quotes.",
        "priority: This must be less than or equal to 10.",
        "workflow, task 2 (two): `task` is missing: what is done: `module.task`.",
        "workflow, task 2 (two), tsk: `tsk` is not known here. Did you mean `task`?",
    ]


@pytest.mark.parametrize("name", ["silver-nanoparticles", "uv-only", "virtual", "home"])
def test_what_is_stored_reads_back_to_the_same_job(name: str) -> None:
    document = parse(example(name))
    stored = json.loads(json.dumps(document.normalised()))
    assert parse(stored) == document
    assert parse(json.dumps(stored)).normalised() == stored


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-100, 100) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)
KEYS = st.sampled_from(["name", "samples", "workflow", "task", "with", "sweep", "from", "to", "needs", "after", "x"])


@given(
    st.dictionaries(
        KEYS, st.recursive(VALUES, lambda i: st.lists(i, max_size=3) | st.dictionaries(KEYS, i, max_size=4))
    )
)
@settings(max_examples=80)
def test_any_data_is_a_job_or_problems(data: dict[str, Any]) -> None:
    document = None
    problems: tuple[Problem, ...] = ()
    try:
        document = parse(data)
    except JobRefused as error:
        problems = error.problems
    assert isinstance(document, JobDocument) or problems
    assert all(problem.message[-1] in ".?" for problem in problems)


@pytest.mark.parametrize(
    ("lab", "name"),
    [("silver", "silver-nanoparticles"), ("silver", "uv-only"), ("silver", "home"), ("virtual", "virtual")],
)
def test_the_published_schema_accepts_the_examples_and_knows_the_labs_tasks(lab: str, name: str) -> None:
    published = schema(catalogue(lab))
    validator = jsonschema.Draft202012Validator(published)
    validator.check_schema(published)
    document = parse(example(name)).normalised()
    validator.validate(document)
    document["workflow"][-1] = {"task": "batch_synthesis.ad", "with": {}}
    assert not validator.is_valid(document)


def test_the_published_schema_refuses_what_the_parser_refuses() -> None:
    validator = jsonschema.Draft202012Validator(schema())
    assert validator.is_valid(MINIMAL)
    changes: tuple[dict[str, Any], ...] = (
        {"priority": 11},
        {"samples": 0},
        {"workflow": []},
        {"nme": "x"},
        {"samples": {"sweep": {"a": 5}}},
    )
    for change in changes:
        assert not validator.is_valid({**MINIMAL, **change})
        assert refused({**MINIMAL, **change})
