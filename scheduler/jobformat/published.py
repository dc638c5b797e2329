"""The job format as JSON Schema, with the tasks of the lab where they are known."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from typing import TYPE_CHECKING, Any

from modules.contract.manifest import Task

from .model import JobDocument
from .units import example

if TYPE_CHECKING:
    from scheduler.catalogue import Catalogue

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE = {"type": "string", "pattern": r"^\$[A-Za-z_]", "description": "A reference: `$name` or `$task.result`."}


def schema(catalogue: Catalogue | None = None) -> dict[str, Any]:
    """Return the schema of a job; with a catalogue it knows the lab's tasks and their parameters."""
    published = deepcopy(_plain())
    if catalogue is not None and catalogue.manifests:
        _add_tasks(published["$defs"]["TaskEntry"], catalogue)
    return published


@cache
def _plain() -> dict[str, Any]:
    return {"$schema": DIALECT, **JobDocument.model_json_schema(by_alias=True)}


def _add_tasks(entry: dict[str, Any], catalogue: Catalogue) -> None:
    """Say which tasks there are, and which parameters each takes."""
    tasks = {
        f"{instance}.{task.name}": task for instance, manifest in catalogue.manifests.items() for task in manifest.tasks
    }
    entry["properties"]["task"] = {
        "description": entry["properties"]["task"]["description"],
        "oneOf": [
            {"const": name, "title": task.title, "description": task.description} for name, task in tasks.items()
        ],
    }
    entry["allOf"] = [
        {
            "if": {"properties": {"task": {"const": name}}, "required": ["task"]},
            "then": {"properties": {"with": _parameters(task)}, **_required(task)},
        }
        for name, task in tasks.items()
    ]


def _required(task: Task) -> dict[str, Any]:
    return {"required": ["with"]} if task.parameters.get("required") else {}


def _parameters(task: Task) -> dict[str, Any]:
    properties = task.parameters.get("properties", {})
    return {
        "type": "object",
        "properties": {name: _parameter(parameter) for name, parameter in properties.items()},
        "required": list(task.parameters.get("required", ())),
        "additionalProperties": False,
    }


def _parameter(parameter: Mapping[str, Any]) -> dict[str, Any]:
    """Return what people may write: the value, a quantity as text, or a reference."""
    about = {key: parameter[key] for key in ("title", "description", "default") if key in parameter}
    value = {key: item for key, item in parameter.items() if key not in (*about, "unit", "anyOf")}
    if isinstance(value.get("items"), Mapping):
        value["items"] = {"anyOf": [value["items"], _REFERENCE]}
    forms = [*parameter.get("anyOf", ()), *([value] if value else [])]
    unit = parameter.get("unit")
    if unit:
        about["description"] = f"{about.get('description', '')} A plain number is in {unit}.".strip()
        forms.append({"type": "string", "examples": [example(unit)]})
    return {**about, "anyOf": [*forms, _REFERENCE]}
