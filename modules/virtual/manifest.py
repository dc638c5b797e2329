"""What the virtual module says about itself: any number of devices and slots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from modules.contract.manifest import Action, Device, Manifest, Resource, Result, Step, Task


class Options(BaseModel):
    """What a lab file may say about this module."""

    model_config = ConfigDict(extra="forbid")

    devices: int = Field(default=4, ge=0, le=1000)
    """How many devices: ``virtual_1``, ``virtual_2``, …"""
    slots: int = Field(default=8, ge=1, le=100_000)


class NoopParameters(BaseModel):
    """Parameters of ``noop``."""

    model_config = ConfigDict(extra="forbid")

    value: float = Field(default=0, description="Is recorded as the result.")


class WaitParameters(BaseModel):
    """Parameters of ``wait``."""

    model_config = ConfigDict(extra="forbid")

    time: float = Field(ge=0, le=604_800, description="How long to wait.", json_schema_extra={"unit": "s"})


class OccupyParameters(BaseModel):
    """Parameters of ``occupy``."""

    model_config = ConfigDict(extra="forbid")

    devices: list[str] = Field(default=[], max_length=100, description="The devices that are used, by name.")
    time: float = Field(ge=0, le=604_800, description="How long.", json_schema_extra={"unit": "s"})
    standby: float = Field(
        default=0,
        ge=0,
        le=604_800,
        description="How long to wait afterwards without using any device.",
        json_schema_extra={"unit": "s"},
    )
    slot: bool = Field(default=False, description="Whether the sample stands in a slot from start to end.")
    fail: bool = Field(default=False, description="Whether it shall fail at its end.")
    overrun: float = Field(default=1, ge=0.1, le=100, description="How many times longer it takes than expected.")


def manifest(options: Mapping[str, Any]) -> Manifest:
    """Return the manifest.

    Raises
    ------
    ValidationError
        If an option is unknown or of the wrong kind; the host says where and what would be right.
    """
    chosen = Options.model_validate(dict(options))
    return Manifest(
        package="modules.virtual",
        version="1",
        title="Virtual module",
        description="Occupies devices and slots for a chosen time, and moves nothing.",
        devices={f"virtual_{number}": Device() for number in range(1, chosen.devices + 1)},
        resources={
            "slot": Resource(
                description="Places that mean nothing.", capacity=chosen.slots, cleanup="leave", put_away="leave"
            )
        },
        tasks=(_noop(), _occupy(chosen), _enter(), _wait(), _leave()),
        actions=(
            Action(name="noop", repeat_safe=True),
            Action(name="occupy", pause="checkpoint"),
        ),
    )


def _noop() -> Task:
    return Task(
        name="noop",
        title="Nothing",
        description="Uses no device and no sample, and takes no time.",
        parameters=NoopParameters.model_json_schema(),
        sample="none",
        steps=(Step(name="noop", action="noop", duration_s="0"),),
        results=(Result(name="value", description="The parameter."),),
    )


def _occupy(options: Options) -> Task:
    parameters = OccupyParameters.model_json_schema()
    names = [f"virtual_{number}" for number in range(1, options.devices + 1)]
    parameters["properties"]["devices"]["items"] = {"type": "string", "enum": names}
    return Task(
        name="occupy",
        title="Occupy devices",
        description="Uses the chosen devices for a while; fails or overruns on request.",
        parameters=parameters,
        steps=(
            Step(
                name="enter",
                action="noop",
                duration_s="0",
                repeat="if(slot, 1, 0)",
                next_within_s="0",
                takes=("slot",),
            ),
            Step(name="work", action="occupy", devices={"=devices": "use"}, duration_s="time"),
            Step(name="rest", duration_s="standby", repeat="if(standby > 0, 1, 0)"),
            Step(name="leave", action="noop", duration_s="0", repeat="if(slot, 1, 0)", frees=("slot",)),
        ),
        results=(Result(name="seconds", unit="s", description="Lab time that it took."),),
    )


def _enter() -> Task:
    return Task(
        name="enter",
        title="Enter a slot",
        description="Puts the sample into a slot.",
        parameters={"type": "object", "properties": {}, "additionalProperties": False},
        creates_sample=True,
        steps=(Step(name="enter", action="noop", duration_s="0", takes=("slot",)),),
    )


def _wait() -> Task:
    return Task(
        name="wait",
        title="Wait",
        description="Uses no device.",
        parameters=WaitParameters.model_json_schema(),
        steps=(Step(name="rest", duration_s="time"),),
    )


def _leave() -> Task:
    return Task(
        name="leave",
        title="Leave the slot",
        description="Takes the sample out of its slot.",
        parameters={"type": "object", "properties": {}, "additionalProperties": False},
        sample_from="slot",
        steps=(Step(name="leave", action="noop", duration_s="0", frees=("slot",)),),
    )
