"""From text to plain data: YAML and JSON, read strictly.

YAML here is a small, safe part of YAML 1.2: mappings, lists, texts, numbers, ``true``, ``false`` and ``null``. No
tags, anchors, aliases or merge keys; ``yes``, ``on``, ``010`` and dates are plain texts. Size, depth and number of
nodes are bounded, and keys may not repeat.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import yaml

from .problems import JobRefused, Path, Problem, pointer, spoken
from .yamlwords import explained

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
MAX_NODES = 50_000
MAX_TEXT = 20_000
MAX_INTEGER = 2**53

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_UNUSABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_WORDS: dict[str, Any] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip


def read(document: str | bytes | Mapping[str, Any]) -> dict[str, Any]:
    """Return the document's content as plain dictionaries, lists, texts and numbers.

    Parameters
    ----------
    document
        YAML or JSON text, or what a JSON parser has made of it.

    Raises
    ------
    JobRefused
        With the line where the text cannot be read, or the path of what is too large.
    """
    if isinstance(document, Mapping):
        data: Any = dict(document)
    else:
        data = _read_text(_decoded(document))
    _check(data)
    if not isinstance(data, dict):
        _refuse((), "A job is a mapping: it starts with lines such as `name: My job` and `workflow:`.")
    return data


def _decoded(document: str | bytes) -> str:
    size = len(document)
    if size > MAX_BYTES:
        _refuse((), f"The job has {size} bytes; at most {MAX_BYTES} are possible. Use a sweep for many samples.")
    if isinstance(document, str):
        return document
    try:
        return document.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse((), f"The job is not UTF-8 text (byte {error.start}); save it as UTF-8.")


def _read_text(text: str) -> Any:
    if text.lstrip()[:1] == "{":
        try:
            return json.loads(text, object_pairs_hook=_unique, parse_constant=_not_a_number, parse_int=_integer)
        except (json.JSONDecodeError, RecursionError) as error:
            # `{a: 1}` is YAML; what only looks like JSON may still be that
            if isinstance(error, RecursionError) or '"' in text.lstrip()[1:].lstrip()[:1]:
                _refuse((), f"The job is not valid JSON: {error}.")
    return _Composer(text).compose()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        _refuse((), f"The key `{twice}` stands twice in one mapping; keep one of them.")
    return mapping


def _not_a_number(text: str) -> NoReturn:
    _refuse((), f"{text} is not a number that can be used.")


def _integer(text: str) -> int | float:
    return int(text) if len(text) < 20 else math.inf


class _Composer:
    """Builds plain data from the parser's events, and refuses everything that is more than data."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._nodes = 0

    def compose(self) -> Any:
        """Return the only document's content."""
        try:
            events = yaml.parse(self._text, Loader=_Loader)
            content: Any = None
            documents = 0
            for event in events:
                if isinstance(event, yaml.DocumentStartEvent):
                    documents += 1
                    if documents > 1:
                        self._refuse(event, "the text holds a second document (`---`); send one job at a time")
                    content = self._node(next(events), events, 1)
            return content
        except yaml.MarkedYAMLError as error:
            self._unreadable(error)
        except yaml.YAMLError as error:
            _refuse((), f"The job is not valid YAML: {str(error).splitlines()[0]}.")

    def _node(self, event: Any, events: Any, depth: int) -> Any:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._refuse(event, f"the job has more than {MAX_NODES} values")
        if depth > MAX_DEPTH:
            self._refuse(event, f"the job is nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            self._refuse(event, f"`{_sign(event)}{event.anchor}`: anchors and aliases are not possible; write it out")
        if event.tag is not None:
            self._refuse(event, f"the tag `{event.tag}` is not possible; write a plain value")
        match event:
            case yaml.ScalarEvent():
                return event.value if event.style else self._plain(event)
            case yaml.SequenceStartEvent():
                items = []
                while not isinstance(following := next(events), yaml.SequenceEndEvent):
                    items.append(self._node(following, events, depth + 1))
                return items
            case _:
                return self._mapping(events, depth)

    def _mapping(self, events: Any, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                self._refuse(event, "a key must be a plain word, and so must what stands in `{…}` before a colon")
            self._node(event, events, depth)
            key = event.value
            if key in mapping:
                self._refuse(event, f"the key `{key}` stands twice in one mapping; keep one of them")
            if key == "<<":
                self._refuse(event, "merge keys (`<<`) are not possible; write the values out")
            mapping[key] = self._node(next(events), events, depth + 1)
        return mapping

    def _plain(self, event: Any) -> Any:
        text = event.value
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text):
            return _integer(text)
        if _FLOAT.fullmatch(text):
            return float(text)
        return text

    def _refuse(self, event: Any, reason: str) -> NoReturn:
        mark = event.start_mark
        _refuse((), f"Line {mark.line + 1}, column {mark.column + 1}: {reason}.")

    def _unreadable(self, error: yaml.MarkedYAMLError) -> NoReturn:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or error.context or "this is not YAML"
        if mark is None:
            _refuse((), f"The job is not valid YAML: {problem}.")
        _refuse((), explained(self._text.splitlines(), mark.line, mark.column, problem))


def _sign(event: Any) -> str:
    return "*" if isinstance(event, yaml.AliasEvent) else "&"


def _check(data: Any) -> None:
    """Bound what was read, whichever parser did it."""
    nodes = 0
    stack: list[tuple[Path, Any]] = [((), data)]
    while stack:
        path, value = stack.pop()
        nodes += 1
        if nodes > MAX_NODES:
            _refuse((), f"The job has more than {MAX_NODES} values; use a sweep for many samples.")
        match value:
            case None | bool():
                pass
            case str():
                if len(value) > MAX_TEXT:
                    _refuse(path, f"This text has {len(value)} characters; at most {MAX_TEXT} are possible.")
                if _UNUSABLE.search(value):
                    _refuse(path, "This text holds control characters; remove them.")
            case int() | float():
                if not math.isfinite(value) or (isinstance(value, int) and abs(value) > MAX_INTEGER):
                    _refuse(path, "This number is too large.")
            case dict() | list():
                if len(path) >= MAX_DEPTH:
                    _refuse(path[:3], f"The job is nested deeper than {MAX_DEPTH} levels.")
                items = value.items() if isinstance(value, dict) else enumerate(value)
                for key, item in items:
                    if isinstance(value, dict) and (not isinstance(key, str) or _UNUSABLE.search(key)):
                        _refuse(path, "Keys must be texts without control characters.")
                    stack.append(((*path, key), item))
            case _:
                _refuse(path, f"A {type(value).__name__} is not possible here.")


def _refuse(path: Path, message: str) -> NoReturn:
    raise JobRefused([Problem(pointer(path), message, spoken(path))])
