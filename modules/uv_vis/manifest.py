"""What the UV-Vis module says about itself.

Masks and times after H. J. Yoo et al., Nat. Commun. 15, 9669 (2024). The cuvette itself, clean as it comes from its
slot, is the blank: it is measured in the beam as reference, then the pipette brings the sample to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from modules.contract.manifest import Action, Check, Consumable, Device, Manifest, Resource, Result, Step, Task

OPEN_LINE_S = 11.4
STORAGE_TO_HOLDER_S = 36.6
HOLDER_TO_STORAGE_S = 34.0
SLOT_TO_CUVETTE_HOLDER_S = 22.3
CUVETTE_HOLDER_TO_BEAM_S = 21.6
BEAM_TO_SLOT_S = 22.2
PIPETTE_S = 81.2
SPECTRUM_S = 6.7
HOME_ARM_S, HOME_PIPETTE_S = 20.0, 8.0


class Options(BaseModel):
    """What a lab file may say about this module."""

    model_config = ConfigDict(extra="forbid")

    cuvette_slots: int = Field(default=8, ge=1)
    storage_lines: int = Field(default=6, ge=1)
    line_positions: int = Field(default=10, ge=1)


class _Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NoParameters(_Parameters):
    """A task without parameters."""


class MeasureParameters(_Parameters):
    """Parameters of ``measure``."""

    wavelength_start: float = Field(
        default=300, ge=200, le=1000, description="Shortest wavelength kept.", json_schema_extra={"unit": "nm"}
    )
    wavelength_stop: float = Field(
        default=849, ge=201, le=1100, description="Longest wavelength kept.", json_schema_extra={"unit": "nm"}
    )
    boxcar: int = Field(default=10, ge=1, le=100, description="Points that are averaged before peaks are looked for.")
    prominence: float = Field(
        default=0.01, gt=0, le=4, description="How far a peak must stand out, in units of absorbance."
    )
    peak_width: float = Field(
        default=20, ge=0, le=500, description="How broad a peak must be at least.", json_schema_extra={"unit": "nm"}
    )
    volume: float = Field(
        default=900, ge=400, le=1000, description="How much of the sample is taken.", json_schema_extra={"unit": "µL"}
    )


def manifest(options: Mapping[str, Any]) -> Manifest:
    """Return the manifest.

    Raises
    ------
    ValidationError
        If an option is unknown or of the wrong kind; the host says where and what would be right.
    """
    chosen = Options.model_validate(dict(options))
    return Manifest(
        package="modules.uv_vis",
        version="1",
        title="UV-Vis spectroscopy",
        description="Measures the absorbance spectrum of a sample and finds its highest peak.",
        devices={
            "arm": Device(description="Carries vials and cuvettes."),
            "vial_storage": Device(description="Keeps vials in lines that open one at a time."),
            "pipette": Device(description="Brings the sample from the vial to the cuvette."),
            "spectrometer": Device(description="Measures what stands in its beam."),
        },
        resources={
            "storage": Resource(
                description="Places for vials.",
                capacity=chosen.storage_lines * chosen.line_positions,
                grid=(chosen.storage_lines, chosen.line_positions),
                storage=True,
            ),
            "vial_holder": Resource(
                description="Where a vial stands between modules.", capacity=1, cleanup="rescue", put_away="store"
            ),
            "cuvette_slot": Resource(description="Slots with a blank cuvette each.", capacity=chosen.cuvette_slots),
            "cuvette_position": Resource(
                description="The cuvette position in the spectrometer.", capacity=1, cleanup="clear"
            ),
        },
        consumables={"tips": Consumable(unit="1", description="Pipette tips.")},
        tasks=(
            _home(),
            _fetch(),
            _measure(),
            _from_holder("store", "Store a vial", "Brings the vial from the holder to its storage place."),
            _from_holder("rescue", "Rescue a vial", "Like store, but the holder may be empty."),
            _clear(),
        ),
        actions=tuple(
            Action(name=name)
            for name in (
                "home_arm", "home_pipette", "fetch_vial", "prepare_cuvette", "measure_spectrum",
                "store_cuvette", "store", "rescue", "clear_cuvette",
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
            Step(name="arm", action="home_arm", devices={"arm": "use"}, duration_s=str(HOME_ARM_S)),
            Step(
                name="pipette",
                action="home_pipette",
                devices={"pipette": "use", "arm": "still"},
                duration_s=str(HOME_PIPETTE_S),
            ),
        ),
    )


def _fetch() -> Task:
    return Task(
        name="fetch",
        title="Fetch a vial",
        description="Brings the vial from its storage place to the holder.",
        parameters=NoParameters.model_json_schema(),
        sample_from="storage",
        steps=(
            Step(
                name="fetch",
                action="fetch_vial",
                devices={"arm": "use", "vial_storage": "use"},
                duration_s=str(OPEN_LINE_S + STORAGE_TO_HOLDER_S + OPEN_LINE_S),
                takes=("vial_holder",),
            ),
        ),
    )


def _measure() -> Task:
    return Task(
        name="measure",
        title="Measure the absorbance",
        description="Measures blank and sample in one cuvette, and finds the highest peak of the spectrum.",
        parameters=MeasureParameters.model_json_schema(),
        sample_from="vial_holder",
        checks=(
            Check(
                that="wavelength_stop > wavelength_start",
                message="wavelength_stop must be longer than wavelength_start",
            ),
        ),
        steps=(
            Step(
                name="prepare",
                action="prepare_cuvette",
                devices={"arm": "use", "pipette": "use"},
                duration_s=str(SLOT_TO_CUVETTE_HOLDER_S + CUVETTE_HOLDER_TO_BEAM_S),
                next_within_s="0",
                takes=("cuvette_slot", "cuvette_position"),
            ),
            Step(
                name="measure",
                action="measure_spectrum",
                devices={"arm": "still", "pipette": "use", "spectrometer": "use"},
                duration_s=str(SPECTRUM_S + SPECTRUM_S + PIPETTE_S + SPECTRUM_S),
                next_within_s="0",
                consumes={"tips": "1"},
            ),
            Step(
                name="store",
                action="store_cuvette",
                devices={"arm": "use", "pipette": "use"},
                duration_s=str(BEAM_TO_SLOT_S),
                frees=("cuvette_position", "cuvette_slot"),
            ),
        ),
        results=(
            Result(name="peak_nm", unit="nm", description="Wavelength of the highest peak (λmax)."),
            Result(name="fwhm_nm", unit="nm", description="Full width of the peak at half its height."),
            Result(name="peak_height", description="Height of the peak, in units of absorbance."),
            Result(name="absorbance", dtype="array", shape=(None,), description="Absorbance spectrum."),
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
                devices={"arm": "use", "vial_storage": "use"},
                duration_s=str(OPEN_LINE_S + HOLDER_TO_STORAGE_S + OPEN_LINE_S),
                frees=("vial_holder",),
            ),
        ),
    )


def _clear() -> Task:
    return Task(
        name="clear",
        title="Clear the spectrometer",
        description="Brings the cuvette back to its slot, wherever it was left.",
        parameters=NoParameters.model_json_schema(),
        sample_from="cuvette_position",
        steps=(
            Step(
                name="clear",
                action="clear_cuvette",
                devices={"arm": "use", "pipette": "use"},
                duration_s=str(BEAM_TO_SLOT_S),
                frees=("cuvette_position", "cuvette_slot"),
            ),
        ),
    )
