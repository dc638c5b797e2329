"""Reading YAML and JSON strictly."""

# ruff: noqa: E501 - sentences are quoted whole

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.jobformat.problems import JobRefused, Problem
from scheduler.jobformat.text import MAX_DEPTH, MAX_NODES, read

SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=20)
DATA = st.dictionaries(
    TEXTS,
    st.recursive(
        SCALARS | TEXTS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4)
    ),
    max_size=5,
)
WORDS = TEXTS.filter(lambda text: text != "<<")
TEXT_DATA = st.dictionaries(
    WORDS, st.recursive(WORDS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4))
)


def refusal(document: str | bytes) -> str:
    with pytest.raises(JobRefused) as refused:
        read(document)
    (problem,) = refused.value.problems
    return str(problem)


@given(DATA)
@settings(max_examples=50)
def test_json_reads_back(data: dict) -> None:
    assert read(json.dumps(data)) == data


@given(TEXT_DATA)
@settings(max_examples=50)
def test_yaml_reads_back(data: dict) -> None:
    assert read(yaml.safe_dump(data, default_style='"', allow_unicode=True, width=10_000)) == data


YAMLISH = st.lists(st.sampled_from(list("{}[]:,-&*!|>'\"#%@` \n\tab1?")), max_size=60).map("".join)


@given(st.text() | st.binary() | YAMLISH)
def test_whatever_comes_is_data_or_a_problem(document: str | bytes) -> None:
    data = None
    problems: tuple[Problem, ...] = ()
    try:
        data = read(document)
    except JobRefused as refused:
        problems = refused.problems
    assert isinstance(data, dict) or problems
    assert all(problem.message.endswith(".") for problem in problems)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("no", "no"), ("on", "on"), ("010", "010"), ("1:30", "1:30"), ("2026-01-01", "2026-01-01"), ("1_000", "1_000"),
        ("true", True), ("~", None), ("", None), ("-7", -7), ("1.5", 1.5), ("1e3", 1000.0), ("'5'", "5"), ('"x\\ny"', "x\ny"),
        ("0x10", "0x10"), (".5", 0.5), ("25 °C", "25 °C"), ("µ", "µ"), ("=", "="),
    ],
)  # fmt: skip
def test_plain_words_mean_what_they_look_like(written: str, meant: object) -> None:
    assert read(f"value: {written}") == {"value": meant}


def test_aliases_cannot_explode() -> None:
    bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]"
    assert refusal(bomb) == "Line 1, column 4: `&a`: anchors and aliases are not possible; write it out."
    assert "`*a`" in refusal("a: *a")


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ("a: !!python/object/apply:os.system [ls]", "the tag `tag:yaml.org,2002:python/object/apply:os.system`"),
        ("a: !x 1", "the tag `!x` is not possible"),
        ("a: 1\nb: 2\na: 3", "Line 3, column 1: the key `a` stands twice"),
        ('{"a": {"b": 1, "b": 2}}', "the key `b` stands twice".capitalize()[:7]),
        ("{[a]: 1}", "a key must be a plain word"),
        ("a:\n\t- b", "indent with spaces"),
        ("a: 1\n---\nb: 2", "second document"),
        ("a: [1", "did not find expected"),
        ("<<: {a: 1}", "merge keys"),
        ("- a", "A job is a mapping"),
        ("just text", "A job is a mapping"),
        ("a: 1e999", "too large"),
        ("a: 99999999999999999999999999", "too large"),
        ('{"a": NaN}', "NaN is not a number"),
        ('{"a": 1,}', "not valid JSON"),
        ('{"a": "\\ud800"}', "control characters"),
        ('{"a": "\\u0000"}', "control characters"),
        (b"\xff\xfe", "not UTF-8"),
        ("x: " + "a" * 1_000_001, "at most 1000000 are possible"),
        ("x: " + "a" * 20_001, "at most 20000 are possible"),
        ("[" * (MAX_DEPTH + 1), "nested deeper than 20 levels"),
        ('{"a":' * 50 + "1" + "}" * 50, "nested deeper than 20 levels"),
        ('{"a":' * 50_000, "not valid JSON"),
        ("a: [" + "1," * (MAX_NODES + 1) + "]", "more than 50000 values"),
    ],
)
def test_refusals_name_the_place_and_the_way_out(document: str | bytes, sentence: str) -> None:
    assert sentence.lower() in refusal(document).lower()


def test_parsed_data_is_bounded_too() -> None:
    deep: dict = {}
    inner = deep
    for _ in range(30):
        inner["a"] = inner = {}
    for data, sentence in [
        (deep, "nested deeper"),
        ({"a": float("nan")}, "too large"),
        ({"a": 2**60}, "too large"),
        ({"a": {1, 2}}, "A set is not possible"),
        ({"a": {1: 2}}, "Keys must be texts"),
        ({"a": "\x07"}, "control characters"),
    ]:
        with pytest.raises(JobRefused, match=sentence):
            read(data)


@pytest.mark.parametrize(
    ("document", "place", "advice"),
    [
        ("name: x\n workflow:\n  - task: a", "Line 2, column 10 (`workflow:`)", "indented by 1 space, the one before by 0"),
        ("name: x\nworkflow:\n\t- task: a", "Line 3, column 1 (`- task: a`)", "spaces, not with tabs"),
        ("a:\n  - b: 1\n   c: 2", "Line 3, column 4 (`c: 2`)", "indented by 3 spaces, the one before by 2"),
        ("a:\n  - b: 1\n - c: 2", "Line 3, column 2 (`- c: 2`)", "Indent what belongs together by equally many spaces"),
        ("name: a: b", "Line 1, column 8 (`name: a: b`)", "put a text that holds a colon in quotes"),
        ("name: 'abc\nx: 2\n", "Line 2, column 5 (`x: 2`)", "must be closed"),
        ("name: [a, b\nworkflow: 1", "Line 2, column 9 (`workflow: 1`)", "close the bracket"),
        ("name: x\nworkflow\n  - a: 1", "Line 3, column 6 (`- a: 1`)", "The line before, `workflow`, lacks its colon"),
        ("name: @x", "Line 1, column 7 (`name: @x`)", "in quotes"),
    ],
)  # fmt: skip
def test_wrong_yaml_is_told_with_the_line_and_the_way_out(document: str, place: str, advice: str) -> None:
    told = refusal(document)
    assert told.startswith(place)
    assert advice in told
