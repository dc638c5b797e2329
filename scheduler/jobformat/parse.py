"""From plain data to a :class:`JobDocument`, or to problems that say what would be right."""

from __future__ import annotations

import contextlib
import copy
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .model import FromPosition, FromSample, JobDocument, Range, SampleEntry, Sweep, TaskEntry
from .problems import Path, Problems, did_you_mean, listed
from .text import read

_EXPECTED = {
    "string_type": "a text; put it in quotes",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "a mapping (`key: value`)",
    "tuple_type": "a list",
    "model_type": "a mapping (`key: value`)",
    "model_attributes_type": "a mapping (`key: value`)",
    "uuid_parsing": "the id of a sample, such as 0190163d-8694-739b-aea5-966c26f8ad90",
    "uuid_type": "the id of a sample, such as 0190163d-8694-739b-aea5-966c26f8ad90",
}


def parse(document: str | bytes | Mapping[str, Any]) -> JobDocument:
    """Read a job.

    Raises
    ------
    JobRefused
        With every place where the document does not fit the format.
    """
    return validate(read(document))


def validate(data: dict[str, Any]) -> JobDocument:
    """Check plain data against the format; raises like :func:`parse`."""
    document, problems = salvage(data)
    problems.refuse()
    return document


def salvage(data: dict[str, Any]) -> tuple[JobDocument, Problems]:
    """Return what can be understood of a job and what is wrong with the rest, so that all can be said at once.

    Raises
    ------
    JobRefused
        If too little can be understood to look any further.
    """
    problems = Problems(_task_names(data))
    try:
        return JobDocument.model_validate(data), problems
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=True)
    for detail in details:
        if not _follows_from(detail, details):
            _add(problems, detail)
    try:
        return JobDocument.model_validate(_without(data, details)), problems
    except ValidationError:
        problems.refuse()
        raise


def _without(data: dict[str, Any], details: list[ErrorDetails]) -> dict[str, Any]:
    """Return the data without keys that are not known, and without what a job need not say."""
    rest = {"name": "?", **copy.deepcopy(data)}
    for detail in details:
        path = _untagged(detail["loc"])
        if detail["type"] == "extra_forbidden" or (len(path) == 1 and path[0] not in ("workflow", "samples")):
            holder: Any = rest
            with contextlib.suppress(KeyError, IndexError, TypeError, AttributeError):
                for part in path[:-1]:
                    holder = holder[part]
                holder.pop(path[-1], None)
    return {"name": "?", **rest}


def _follows_from(detail: ErrorDetails, others: list[ErrorDetails]) -> bool:
    """Tell whether a list seems too short only because its items are wrong."""
    at = detail["loc"]
    return detail["type"] == "too_short" and any(
        other is not detail and len(other["loc"]) > len(at) and other["loc"][: len(at)] == at for other in others
    )


def _task_names(data: dict[str, Any]) -> list[str]:
    workflow = data.get("workflow")
    entries = workflow if isinstance(workflow, list) else []
    return [
        str(entry.get("id") or entry.get("task") or "")[:80] if isinstance(entry, dict) else "" for entry in entries
    ]


def _add(problems: Problems, detail: ErrorDetails) -> None:
    tagged = detail["loc"]
    path = _untagged(tagged)
    if path[-1:] in (("str",), ("float",)):
        # the branches of “text or number”
        problems.add(path[:-1], "This must be a number, or a text with a number and a unit, such as `5 min`.")
        return
    context = detail.get("ctx") or {}
    kind = detail["type"]
    if path and path[-1] == "[key]":
        path = path[:-2]
        problems.add(path, f"`{tagged[-2]}` is not a name: use letters, digits and `_`, and start with a letter.")
    elif kind == "missing":
        problems.add(path[:-1], f"`{path[-1]}` is missing: {_description(path)}")
    elif kind == "extra_forbidden":
        known = [field.alias or name for name, field in _model_at(path[:-1]).model_fields.items()]
        problems.add(path, f"`{path[-1]}` is not known here. {did_you_mean(str(path[-1]), known, 'The key')}")
    elif kind == "literal_error":
        choices = [part.strip("' ") for part in str(context.get("expected", "")).replace(" or ", ",").split(",")]
        problems.add(path, f"This can be {listed(choices)}.")
    elif kind in _EXPECTED:
        problems.add(path, f"This must be {_EXPECTED[kind]}.")
    elif kind == "string_pattern_mismatch":
        problems.add(
            path, f"{_short(detail['input'])} is not a name: use letters, digits and `_`; start with a letter."
        )
    elif kind == "value_error":
        problems.add(path, f"{str(context['error']).capitalize()}.")
    else:
        problems.add(path, _reworded(detail["msg"]))


def _untagged(location: Path) -> Path:
    """Return a place in the document: pydantic also names the branch of a union that it tried."""
    return tuple(part for part in location if not (isinstance(part, str) and part[:1] == "<" and part[-1:] == ">"))


def _short(value: Any) -> str:
    text = str(value)
    return f"`{text if len(text) <= 40 else text[:37] + '…'}`"


def _reworded(message: str) -> str:
    """Turn pydantic's sentence into one about what people wrote."""
    subject, _, rest = message.partition(" should ")
    if rest and subject in ("Input", "Tuple", "String", "Dictionary"):
        message = f"This must {rest}"
    return re.sub(r" (after validation, )?not \d+$", "", message.replace(" after validation,", "")).rstrip(".") + "."


def _model_at(path: Path) -> type[BaseModel]:
    match path:
        case ("workflow", int()):
            return TaskEntry
        case ("samples", int()):
            return SampleEntry
        case ("samples",):
            return Sweep
        case ("samples", "sweep", _):
            return Range
        case ("samples", int(), "from"):
            return FromPosition
    return JobDocument


def _description(path: Path) -> str:
    model = _model_at(path[:-1])
    if path[-1] == "sample":
        model = FromSample
    for name, field in model.model_fields.items():
        if path[-1] in (name, field.alias) and field.description:
            text = field.description
            return text[0].lower() + text[1:]
    return "it is needed."
