"""What people can be asked for. A lab that needs more writes a package like this one: it is nothing but data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from modules.contract.manifest import Action, Device, Manifest, Resource, Result, Step, Task

COLOURS = ("colourless", "yellow", "orange", "red", "pink", "purple", "blue", "green", "brown", "black", "white")


class Options(BaseModel):
    """What a lab file may say about this module."""

    model_config = ConfigDict(extra="forbid")

    people: list[str] = Field(default=["operator"], min_length=1, max_length=100)
    """Ids of ``[[people]]`` who may be asked; a job that names nobody gets the first."""
    places: int = Field(default=1, ge=1, le=100_000)
    """How many samples there is room for where people put them; the storage they share with others has its own."""
    grid: tuple[int, ...] = ()
    """How these places are named; see the resource of the module that they are shared with."""


class Asked(BaseModel):
    """Parameters of every task."""

    model_config = ConfigDict(extra="forbid")

    who: str = Field(default="operator", description="Who is asked.")
    instruction: str = Field(default="", max_length=2000, description="What to do, for the person who does it.")
    time: float = Field(
        default=300, ge=1, le=604_800, description="How long it is expected to take.", json_schema_extra={"unit": "s"}
    )
    keep_still: list[str] = Field(
        default=[],
        max_length=50,
        description="Devices that must not move meanwhile, such as an arm in whose reach the person works.",
    )


class ToWeigh(Asked):
    """Parameters of ``weigh``."""

    to: str = Field(default="", max_length=200, description="What is weighed: the whole vial, the powder in it.")


def manifest(options: Mapping[str, Any]) -> Manifest:
    """Return the manifest.

    Raises
    ------
    ValidationError
        If an option is unknown or of the wrong kind; the host says where and what would be right.
    """
    chosen = Options.model_validate(dict(options))
    return Manifest(
        package="modules.people",
        version="1",
        title="People",
        description="Steps that a person does: they are asked for on the dashboard and in chat, and answered there.",
        devices={name: Device(description="Does what is asked for.") for name in chosen.people},
        resources={
            "storage": Resource(
                description="Where people put samples.", capacity=chosen.places, grid=chosen.grid, storage=True
            )
        },
        tasks=(_load(chosen), _do(chosen), _confirm_colour(chosen), _weigh(chosen)),
        # Whether asking twice is harmless, nobody but the person knows: an answer "cannot" says that nothing was done.
        actions=(Action(name="ask"),),
    )


def _schema(model: type[Asked], options: Options) -> dict[str, Any]:
    schema = model.model_json_schema()
    schema["properties"]["who"] |= {"enum": list(options.people), "default": options.people[0]}
    return schema


def _ask(**fields: Any) -> Step:
    return Step(name="ask", action="ask", devices={"=who": "use", "=keep_still": "still"}, duration_s="time", **fields)


def _load(options: Options) -> Task:
    return Task(
        name="load",
        title="Load a sample",
        description="Puts a sample that was made elsewhere into the place that is shown.",
        person=True,
        parameters=_schema(Asked, options),
        creates_sample=True,
        steps=(_ask(takes=("storage",)),),
        results=(
            Result(
                name="label", dtype="string", title="Label on the vial", description="As it is written.", optional=True
            ),
        ),
    )


def _do(options: Options) -> Task:
    return Task(
        name="do",
        title="Do something",
        description="Does what the instruction says.",
        person=True,
        parameters=_schema(Asked, options) | {"required": ["instruction"]},
        steps=(_ask(),),
    )


def _confirm_colour(options: Options) -> Task:
    return Task(
        name="confirm_colour",
        title="Confirm the colour",
        description="Looks at the sample and says which colour it has.",
        person=True,
        parameters=_schema(Asked, options),
        steps=(_ask(),),
        results=(
            Result(name="colour", dtype="string", choices=COLOURS, title="Colour"),
            Result(name="clear", dtype="boolean", title="Clear, without solids", optional=True),
        ),
    )


def _weigh(options: Options) -> Task:
    return Task(
        name="weigh",
        title="Read a balance",
        description="Puts the sample on the balance and reads it.",
        person=True,
        parameters=_schema(ToWeigh, options),
        steps=(_ask(),),
        results=(
            Result(name="mass", unit="g", minimum=0, maximum=10_000, title="Mass"),
            Result(name="balance", dtype="string", title="Balance", description="Which one was used.", optional=True),
        ),
    )
