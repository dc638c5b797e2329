"""What the batch synthesis module says about itself.

Modelled on the masking table and the measured device times of H. J. Yoo et al., Nat. Commun. 15, 9669 (2024),
extended where the instruments ask for it: whoever talks to an instrument masks it. A sample keeps its storage
place from the moment its vial is taken, so it can always be put away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from modules.contract.manifest import (
    Action,
    Add,
    Consumable,
    Device,
    Manifest,
    Resource,
    Result,
    Setting,
    Step,
    Task,
    Vessel,
)

OPEN_LINE_S = 11.4
STORAGE_TO_STIRRER_S = 30.6
STIRRER_TO_HOLDER_S = 29.7
HOLDER_TO_STORAGE_S = 34.0
STIRRER_TO_STORAGE_S = 36.6
NOZZLE_S = 11.1 + 3.4 + 10.0
"""Down to a slot, up again, and back to the centre."""
STROKE_S = 0.5
"""What a pump needs for each stroke beyond drawing and delivering."""
SET_S = 2.3
HOME_ACTUATOR_S, HOME_ARM_S, INITIALIZE_PUMPS_S = 15.0, 20.0, 25.0

STIRRED = ("stirrer.speed_rpm", "stirrer.temperature_c")


class Options(BaseModel):
    """What a lab file may say about this module."""

    model_config = ConfigDict(extra="forbid")

    pumps: dict[str, str] = Field(
        default={"Citrate": "pump_citrate", "H2O2": "pump_h2o2", "NaBH4": "pump_nabh4", "AgNO3": "pump_agno3"},
        min_length=1,
    )
    """Solution → device id of the pump that delivers it."""
    vial_slots: int = Field(default=8, ge=1)
    storage_lines: int = Field(default=6, ge=1)
    line_positions: int = Field(default=10, ge=1)
    syringe_ul: float = Field(default=1000, gt=0)
    vial_ul: float = Field(default=10_000, gt=0)


class _Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NoParameters(_Parameters):
    """A task without parameters."""


class StirParameters(_Parameters):
    """Parameters of ``stir``."""

    speed: float = Field(ge=50, le=1500, description="Stirring speed.", json_schema_extra={"unit": "rpm"})


class HeatParameters(_Parameters):
    """Parameters of ``heat``."""

    temperature: float = Field(
        ge=20, le=150, description="Temperature of the hotplate.", json_schema_extra={"unit": "degC"}
    )


class AddParameters(_Parameters):
    """Parameters of ``add``."""

    solution: str = Field(description="Which solution.")
    volume: float = Field(ge=10, le=5000, description="How much of it.", json_schema_extra={"unit": "µL"})
    rate: float = Field(
        default=200, ge=5, le=500, description="How fast the pump delivers.", json_schema_extra={"unit": "µL/s"}
    )
    concentration: float | None = Field(
        default=None,
        gt=0,
        description="What the recipe expects of the stock; the job is refused if the stock has another one.",
        json_schema_extra={"unit": "mM"},
    )


class MixParameters(_Parameters):
    """Parameters of ``mix``."""

    time: float = Field(ge=0, le=86_400, description="How long to stir on.", json_schema_extra={"unit": "s"})


class ReactParameters(_Parameters):
    """Parameters of ``react``."""

    time: float = Field(ge=0, le=604_800, description="Reaction time.", json_schema_extra={"unit": "s"})
    unload_within: float = Field(
        default=600,
        ge=0,
        le=86_400,
        description="The longest time that the vial may stay on the stirrer after the reaction time.",
        json_schema_extra={"unit": "s"},
    )


def manifest(options: Mapping[str, Any]) -> Manifest:
    """Return the manifest.

    Raises
    ------
    ValidationError
        If an option is unknown or of the wrong kind; the host says where and what would be right.
    """
    chosen = Options.model_validate(dict(options))
    solutions = list(chosen.pumps)
    return Manifest(
        package="modules.batch_synthesis",
        version="1",
        title="Batch synthesis",
        description="Makes samples in vials: pumps add solutions while a hotplate stirs and heats.",
        devices={
            "arm": Device(description="Carries vials."),
            "vial_storage": Device(description="Keeps vials in lines that open one at a time."),
            "linear_actuator": Device(description="Moves the nozzles over the vials."),
            "pumps": Device(many=True, description="Syringe pumps, one per solution, on one bus."),
            "stirrer": Device(
                description="Stirs and heats all vials alike.",
                settings={
                    "speed_rpm": Setting(
                        unit="rpm", description="Stirring speed of all vials.", ends_with="stop_stirring"
                    ),
                    "temperature_c": Setting(
                        unit="degC", description="Temperature of all vials.", ends_with="stop_heating"
                    ),
                },
            ),
        },
        resources={
            "storage": Resource(
                description="Places for vials.",
                capacity=chosen.storage_lines * chosen.line_positions,
                grid=(chosen.storage_lines, chosen.line_positions),
                storage=True,
            ),
            "vial_slot": Resource(
                description="Positions on the stirrer.",
                capacity=chosen.vial_slots,
                cleanup="rescue_from_slot",
                put_away="park",
            ),
            "vial_holder": Resource(
                description="Where a vial stands between modules.",
                capacity=1,
                cleanup="rescue_from_holder",
                put_away="store",
            ),
        },
        consumables={
            "vials": Consumable(unit="1", description="Fresh vials in the storage."),
            **{name.lower(): Consumable(unit="mL", description=f"{name} solution.") for name in solutions},
        },
        vessel=Vessel(capacity_ul=chosen.vial_ul),
        tasks=(
            _home(),
            _prepare(),
            _add(solutions, chosen),
            _stir(),
            _heat(),
            _mix(),
            _react(),
            _stop("stop_stirring", "Stop stirring"),
            _stop("stop_heating", "Stop heating"),
            _from_holder("store", "Store a vial", "Brings the vial from the holder to its storage place."),
            _from_slot("park", "Park a vial", "Brings the vial from the stirrer to its storage place."),
            _from_holder("rescue_from_holder", "Rescue a vial", "Like store, but the holder may be empty."),
            _from_slot("rescue_from_slot", "Rescue a vial", "Like park, but the slot may be empty."),
        ),
        actions=tuple(
            Action(name=name, repeat_safe=name in {"set_stirring", "set_heating", "stop_stirring", "stop_heating"})
            for name in (
                "home_arm", "home_actuator", "initialize_pumps", "load_vial", "add_solution",
                "set_stirring", "set_heating", "stop_stirring", "stop_heating", "unload_vial", "store", "park",
                "rescue_from_holder", "rescue_from_slot",
            )
        ),
    )  # fmt: skip


def _home() -> Task:
    return Task(
        name="home",
        title="Home the instruments",
        description="Finds the zero of every instrument that has not found it since it was switched on.",
        parameters=NoParameters.model_json_schema(),
        sample="none",
        steps=(
            Step(
                name="actuator",
                action="home_actuator",
                devices={"linear_actuator": "use", "arm": "still"},
                duration_s=str(HOME_ACTUATOR_S),
            ),
            Step(
                name="arm",
                action="home_arm",
                devices={"arm": "use", "linear_actuator": "still"},
                duration_s=str(HOME_ARM_S),
            ),
            Step(
                name="pumps",
                action="initialize_pumps",
                devices={"pumps": "use", "linear_actuator": "use"},
                duration_s=str(INITIALIZE_PUMPS_S),
            ),
        ),
    )


def _prepare() -> Task:
    return Task(
        name="prepare",
        title="Prepare a vial",
        description="Takes a fresh vial out of the storage and puts it on the stirrer.",
        parameters=NoParameters.model_json_schema(),
        creates_sample=True,
        steps=(
            Step(
                name="load",
                action="load_vial",
                devices={"arm": "use", "vial_storage": "use", "linear_actuator": "use"},
                duration_s=str(OPEN_LINE_S + STORAGE_TO_STIRRER_S + OPEN_LINE_S),
                takes=("storage", "vial_slot"),
                consumes={"vials": "1"},
            ),
        ),
    )


def _add(solutions: list[str], options: Options) -> Task:
    parameters = AddParameters.model_json_schema()
    parameters["properties"]["solution"]["enum"] = solutions
    return Task(
        name="add",
        title="Add a solution",
        description="Lowers the nozzle into the vial and pumps.",
        parameters=parameters,
        sample_from="vial_slot",
        steps=(
            Step(
                name="add",
                action="add_solution",
                devices={"linear_actuator": "use", "pumps": "use"},
                duration_s=f"{NOZZLE_S} + 2 * volume / rate + {STROKE_S} * ceil(volume / {options.syringe_ul})",
                consumes={"=solution": "volume / 1000"},
                adds=Add(solution="solution", volume_ul="volume", concentration_mm="concentration"),
            ),
        ),
        results=(Result(name="delivered", unit="µL", description="What the pump has delivered."),),
    )


def _stir() -> Task:
    return Task(
        name="stir",
        title="Stir",
        description="Stirs from now until the vial leaves the stirrer.",
        parameters=StirParameters.model_json_schema(),
        sample_from="vial_slot",
        steps=(
            Step(
                name="set",
                action="set_stirring",
                devices={"stirrer": "use"},
                duration_s=str(SET_S),
                settings={"stirrer.speed_rpm": "speed"},
            ),
        ),
    )


def _heat() -> Task:
    return Task(
        name="heat",
        title="Heat",
        description="Holds a temperature from now until the vial leaves the stirrer.",
        parameters=HeatParameters.model_json_schema(),
        sample_from="vial_slot",
        steps=(
            Step(
                name="set",
                action="set_heating",
                devices={"stirrer": "use"},
                duration_s=str(SET_S),
                settings={"stirrer.temperature_c": "temperature"},
            ),
        ),
    )


def _stop(name: str, title: str) -> Task:
    return Task(
        name=name,
        title=title,
        description="Is done by itself as soon as no vial needs it any more.",
        parameters=NoParameters.model_json_schema(),
        sample="none",
        steps=(Step(name="stop", action=name, devices={"stirrer": "use"}, duration_s=str(SET_S)),),
    )


def _mix() -> Task:
    return Task(
        name="mix",
        title="Mix",
        description="Leaves the vial on the stirrer for a while.",
        parameters=MixParameters.model_json_schema(),
        sample_from="vial_slot",
        steps=(Step(name="dwell", duration_s="time", keeps=STIRRED),),
    )


def _react() -> Task:
    return Task(
        name="react",
        title="React",
        description="Leaves the vial on the stirrer for the reaction time, then brings it to the vial holder.",
        parameters=ReactParameters.model_json_schema(),
        sample_from="vial_slot",
        steps=(
            Step(name="dwell", duration_s="time", next_within_s="unload_within", keeps=STIRRED),
            Step(
                name="unload",
                action="unload_vial",
                devices={"arm": "use", "linear_actuator": "use"},
                duration_s=str(STIRRER_TO_HOLDER_S),
                takes=("vial_holder",),
                frees=("vial_slot",),
                keeps=STIRRED,
            ),
        ),
    )


def _from_holder(name: str, title: str, description: str) -> Task:
    return Task(
        name=name,
        title=title,
        description=description,
        parameters=NoParameters.model_json_schema(),
        sample_from="vial_holder",
        steps=(
            Step(
                name=name,
                action=name,
                devices={"arm": "use", "vial_storage": "use", "linear_actuator": "still"},
                duration_s=str(OPEN_LINE_S + HOLDER_TO_STORAGE_S + OPEN_LINE_S),
                frees=("vial_holder",),
            ),
        ),
    )


def _from_slot(name: str, title: str, description: str) -> Task:
    return Task(
        name=name,
        title=title,
        description=description,
        parameters=NoParameters.model_json_schema(),
        sample_from="vial_slot",
        steps=(
            Step(
                name=name,
                action=name,
                devices={"arm": "use", "vial_storage": "use", "linear_actuator": "use"},
                duration_s=str(OPEN_LINE_S + STIRRER_TO_STORAGE_S + OPEN_LINE_S),
                frees=("vial_slot",),
                keeps=STIRRED,
            ),
        ),
    )
