"""The JSON parser: whatever comes, an answer or a parse error, and nothing that a store would choke on."""

from __future__ import annotations

import io
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.exceptions import ParseError

from octolab.api.parsers import MAX_DEPTH, StrictJSONParser

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def parse(body: bytes) -> Any:
    return StrictJSONParser().parse(io.BytesIO(body))


def clean(value: Any) -> bool:
    match value:
        case str():
            return "\0" not in value and not any("\ud800" <= char <= "\udfff" for char in value)
        case float():
            return math.isfinite(value)
        case list():
            return all(map(clean, value))
        case dict():
            return all(map(clean, value)) and all(map(clean, value.values()))
    return True


@given(VALUES, st.booleans())
def test_good_json_comes_through_and_bad_characters_do_not(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    if clean(value):
        assert parse(text) == value
    else:
        with pytest.raises(ParseError):
            parse(text)


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_are_refused(body: bytes) -> None:
    try:
        value = parse(body)
    except ParseError:
        return
    assert clean(value)


@given(st.integers(1, 5000), st.sampled_from(["[", '{"a":']))
def test_depth_is_bounded(depth: int, opening: str) -> None:
    body = (opening * depth + "1" + {"[": "]", '{"a":': "}"}[opening] * depth).encode()
    if depth <= MAX_DEPTH:
        parse(body)
    else:
        with pytest.raises(ParseError, match="deeper"):
            parse(body)


@pytest.mark.parametrize(
    "body", [b"[" * 1_000_000, b'{"a":' * 300_000, b"1" * 100_000, b"-" * 10, b"\xff", b'"\xed\xa0\x80"']
)
def test_monsters_are_refused(body: bytes) -> None:
    with pytest.raises(ParseError):
        parse(body)
