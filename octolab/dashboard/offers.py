"""What the lab offers to those who write a job: its tasks, each with the fields of a small form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modules.contract.manifest import Manifest, Task
from scheduler import catalogue

from . import words


@dataclass(frozen=True)
class Entry:
    """A parameter of a task as somebody fills it in.

    Attributes
    ----------
    unit
        What is written behind a bare number.
    hint
        What may be written: ``10 to 5000 µL; 200 if left out``.
    """

    name: str
    title: str
    unit: str
    hint: str
    description: str
    choices: tuple[str, ...]
    required: bool
    several: bool
    """Whether several may be named, with commas between them."""


@dataclass(frozen=True)
class Offered:
    """A task that may stand in a job's workflow."""

    name: str
    title: str
    description: str
    person: bool
    entries: tuple[Entry, ...]


def offers() -> list[tuple[str, list[Offered]]]:
    """Return the title of each module with its tasks; what the lab does by itself is left out."""
    known = catalogue.current().manifests
    return [
        (
            words.thing(instance),
            [_offered(instance, task) for task in manifest.tasks if task.name not in _own(manifest)],
        )
        for instance, manifest in known.items()
    ]


def _own(manifest: Manifest) -> set[str]:
    """Return the tasks that nobody has to ask for: clean-up, and what ends a setting."""
    cleanups = {resource.cleanup for resource in manifest.resources.values() if resource.cleanup}
    endings = {setting.ends_with for one in manifest.devices.values() for setting in one.settings.values()}
    return cleanups | {name for name in endings if name}


def _offered(instance: str, task: Task) -> Offered:
    needed = task.parameters.get("required", ())
    entries = tuple(
        _entry(name, schema, name in needed) for name, schema in task.parameters.get("properties", {}).items()
    )
    return Offered(f"{instance}.{task.name}", task.title, task.description, task.person, entries)


def _entry(name: str, schema: dict[str, Any], required: bool) -> Entry:
    plain = {**next((one for one in schema.get("anyOf", ()) if one.get("type") != "null"), {}), **schema}
    unit = str(plain.get("unit", ""))
    choices = tuple(map(str, plain.get("enum", ("true", "false") if plain.get("type") == "boolean" else ())))
    return Entry(
        name, words.sentence(words.plain(name)), unit, _hint(plain, unit, required), str(plain.get("description", "")),
        choices, required, plain.get("type") == "array",
    )  # fmt: skip


def _hint(schema: dict[str, Any], unit: str, required: bool) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    parts = ["several with commas between them"] if schema.get("type") == "array" else []
    if low is not None and high is not None:
        parts.append(f"{low:g} to {high:g} {unit}")
    else:
        limits = (("at least", low), ("above", above), ("at most", high), ("below", below))
        parts += [f"{word} {limit:g} {unit}" for word, limit in limits if limit is not None] or [unit]
    if not required:
        default = schema.get("default")
        parts.append(f"{default} if left out" if default not in (None, "", []) else "may be left out")
    return "; ".join(part.strip() for part in parts if part.strip())
