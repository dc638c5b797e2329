"""Parsers of bodies that trust nothing: size, depth, numbers, names and characters are checked."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from .errors import Problem

MAX_DEPTH = 40
"""Of lists and objects within each other. The schemas of octolab need less than half."""


class TextParser(BaseParser):
    """Take a body as UTF-8 text."""

    media_type = "text/plain"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        """Return the body's text; raise a problem if it is too large or not UTF-8."""
        body = stream.read(settings.MAX_BODY_BYTES + 1)
        if len(body) > settings.MAX_BODY_BYTES:
            raise Problem(413, "too-large", f"A body has at most {settings.MAX_BODY_BYTES} bytes.")
        try:
            return body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ParseError(f"The body is not UTF-8: {error.reason} at byte {error.start}.") from error


class YAMLText(str):
    """The text of a YAML document."""

    __slots__ = ()


class YAMLTextParser(TextParser):
    """Take a YAML document as text: who understands the document parses it."""

    media_type = "application/yaml"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        """Return the body's text."""
        return YAMLText(super().parse(stream, media_type, parser_context))


class _TextYAML(YAMLTextParser):
    media_type = "text/yaml"


class _XYAML(YAMLTextParser):
    media_type = "application/x-yaml"


class _TextXYAML(YAMLTextParser):
    media_type = "text/x-yaml"


YAML_PARSERS = (YAMLTextParser, _TextYAML, _XYAML, _TextXYAML)
"""YAML under its registered name, and under those that programs have called it by before it had one."""


class StrictJSONParser(TextParser):
    """Parse JSON as RFC 8259 has it: each name once, finite numbers, and no character that a store would refuse."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        """Return the parsed body; raise ``ParseError`` saying what is wrong with it."""
        text = super().parse(stream, media_type, parser_context)
        try:
            value = json.loads(
                text, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_each_name_once
            )
        except RecursionError as error:
            raise ParseError(f"Lists and objects are nested deeper than {MAX_DEPTH}.") from error
        except ValueError as error:
            raise ParseError(f"The body is not JSON: {error}") from error
        # Without a backslash no bad character can stand in it: a raw one would not be JSON or not be UTF-8.
        _check(value, characters="\\u" in text)
        return value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number in JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is too large for a number")
    return value


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice[:100]!r} stands twice in one object")
    return result


def _check(value: Any, *, characters: bool) -> None:
    stack = [(value, 1)]
    while stack:
        item, depth = stack.pop()
        if isinstance(item, str):
            if characters and any(char == "\0" or "\ud800" <= char <= "\udfff" for char in item):
                raise ParseError("A text holds a character that is none: \\u0000, or half of a surrogate pair.")
        elif isinstance(item, dict | list):
            if depth > MAX_DEPTH:
                raise ParseError(f"Lists and objects are nested deeper than {MAX_DEPTH}.")
            if isinstance(item, dict):
                stack.extend((name, depth) for name in item if characters)
                stack.extend((child, depth + 1) for child in item.values())
            else:
                stack.extend((child, depth + 1) for child in item)
