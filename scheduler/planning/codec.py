"""JSON for the planner's dataclasses: strict reading, lean writing, and the schema, all from the type hints.

Fields at their default are left out when writing. Reading refuses unknown keys, wrong types and missing
fields, with the path of the offending value, because problems also arrive from files that people write.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, TypeVar, Union

from scheduler.planning.plan import Plan
from scheduler.planning.problem import LARGEST, Problem

SCHEMA_VERSION = 1
T = TypeVar("T")


class DecodeError(ValueError):
    """A JSON value that does not fit; the message starts with its path, e.g. ``jobs[2].weight``."""


@cache
def _fields(cls: Any) -> tuple[tuple[str, Any, bool, Any], ...]:
    hints = typing.get_type_hints(cls)
    rows = []
    for field in dataclasses.fields(cls):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        default = None if required or field.default is dataclasses.MISSING else field.default
        rows.append((field.name, hints[field.name], required, default))
    return tuple(rows)


def to_data(value: Any) -> Any:
    """Turn a dataclass into plain dicts, lists and scalars."""
    if dataclasses.is_dataclass(value):
        data = {}
        for name, _, required, default in _fields(value.__class__):
            item = getattr(value, name)
            if required or (item != default and item not in ((), {})):
                data[name] = to_data(item)
        return data
    if isinstance(value, tuple | list):
        return [to_data(item) for item in value]
    if isinstance(value, Mapping):
        return {key: to_data(item) for key, item in value.items()}
    return value


def from_data(cls: Any, data: Any, path: str = "") -> Any:
    """Build an instance of `cls` (a dataclass or a type hint) from plain data.

    Raises
    ------
    DecodeError
        If a key is unknown or missing, or a value has the wrong type.
    """
    origin, args = typing.get_origin(cls), typing.get_args(cls)
    if dataclasses.is_dataclass(cls):
        return _decode_dataclass(cls, data, path)
    if origin is tuple:
        if not isinstance(data, list | tuple):
            raise DecodeError(f"{path}: expected a list")
        if args[-1] is Ellipsis:
            return tuple(from_data(args[0], item, f"{path}[{i}]") for i, item in enumerate(data))
        return tuple(data)
    if origin in (Union, types.UnionType):
        if data is None and type(None) in args:
            return None
        return from_data(next(arg for arg in args if arg is not type(None)), data, path)
    if origin is Literal:
        if not isinstance(data, str) or data not in args:
            raise DecodeError(f"{path}: expected one of {', '.join(map(repr, args))}")
        return data
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(data, dict):
            raise DecodeError(f"{path}: expected an object")
        return {str(key): from_data(args[1], item, f"{path}.{key}") for key, item in data.items()}
    return _decode_scalar(cls, data, path)


def _decode_dataclass(cls: Any, data: Any, path: str) -> Any:
    if not isinstance(data, dict):
        raise DecodeError(f"{path or cls.__name__}: expected an object")
    rows = _fields(cls)
    known = {row[0] for row in rows}
    for key in data:
        if key not in known:
            raise DecodeError(f"{path or cls.__name__}: unknown field {key!r}")
    prefix = f"{path}." if path else ""
    values = {}
    for name, hint, required, _ in rows:
        if name in data:
            values[name] = from_data(hint, data[name], prefix + name)
        elif required:
            raise DecodeError(f"{path or cls.__name__}: field {name!r} is missing")
    return cls(**values)


def _decode_scalar(cls: Any, data: Any, path: str) -> Any:
    if cls is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if (isinstance(data, bool) and cls is not bool) or not isinstance(data, cls):
        raise DecodeError(f"{path}: expected {cls.__name__}, got {type(data).__name__}")
    if cls is int and abs(data) > LARGEST:
        raise DecodeError(f"{path}: {data} is too large, the greatest whole number is {LARGEST}")
    if cls is str and not data.isascii() and any("\ud800" <= letter <= "\udfff" for letter in data):
        raise DecodeError(f"{path}: {data!r} is not text")
    return data


def dump_problem(problem: Problem) -> str:
    """Write a problem as JSON text."""
    return json.dumps({"schema_version": SCHEMA_VERSION, **to_data(problem)}, indent=1)


def load_problem(text: str) -> Problem:
    """Read a problem from JSON text (not yet validated, see `scheduler.planning.validate`)."""
    return _load(Problem, text)


def dump_plan(plan: Plan) -> str:
    """Write a plan as JSON text: equal plans give equal bytes."""
    return json.dumps({"schema_version": SCHEMA_VERSION, **to_data(plan)}, indent=1, sort_keys=True)


def load_plan(text: str) -> Plan:
    """Read a plan from JSON text."""
    plan = _load(Plan, text)
    for step in plan.starts.keys() ^ plan.ends.keys():
        raise DecodeError(f"step {step} has a {'start and no end' if step in plan.starts else 'end and no start'}")
    return dataclasses.replace(plan, objective=tuple(plan.objective))


def _load(cls: type[T], text: str) -> T:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise DecodeError(f"not JSON: {error}") from error
    except RecursionError as error:
        raise DecodeError("not understood: nested too deeply") from error
    if not isinstance(data, dict):
        raise DecodeError(f"{cls.__name__}: expected an object")
    version = data.pop("schema_version", SCHEMA_VERSION)
    if version != SCHEMA_VERSION:
        raise DecodeError(f"schema_version {version} is not understood (this is {SCHEMA_VERSION})")
    return typing.cast(T, from_data(cls, data))


def json_schema(cls: type = Problem) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a dataclass; the one of `Problem` documents the octolab format."""
    definitions: dict[str, Any] = {}
    root = _schema(cls, definitions)
    definitions[cls.__name__]["properties"]["schema_version"] = {"const": SCHEMA_VERSION}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **root, "$defs": definitions}


def _schema(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        name = typing.cast(type, hint).__name__
        if name not in definitions:
            definitions[name] = {}
            rows = _fields(typing.cast(type, hint))
            definitions[name] = {
                "type": "object",
                "additionalProperties": False,
                "properties": {row[0]: _schema(row[1], definitions) for row in rows},
                "required": [row[0] for row in rows if row[2]],
            }
        return {"$ref": f"#/$defs/{name}"}
    if origin is tuple:
        return {"type": "array", "items": _schema(args[0], definitions)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema(arg, definitions) for arg in args]}
    if origin is Literal:
        return {"enum": list(args)}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _schema(args[1], definitions)}
    names = {int: "integer", float: "number", str: "string", bool: "boolean", type(None): "null"}
    return {"type": names[hint]}
