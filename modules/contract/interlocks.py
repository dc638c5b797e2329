"""Interlocks: named conditions on readings of devices, declared in the lab file, evaluated at the host.

An interlock in software never replaces one in hardware: it looks once a second, and it can only see what a device
tells of itself.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Value = float | str
Limits = tuple[float, float]

STATES = "interlocks"
"""Collection: each interlock as it is now; ``_id`` is its id. See :class:`InterlockRecord`."""
LOG = "interlock_log"
"""Collection: every trip and clear; ``_id`` is ``<id>/<serial>``."""


class InterlockSection(BaseModel):
    """One ``[[interlocks]]`` table of the lab file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
    title: str = ""
    reading: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}\.[a-z][a-z0-9_]{0,62}$")]
    """``<device id>.<name>``: a figure of the device's status, or ``<device id>.state``."""
    rule: Literal["ceiling", "floor", "band", "equals"]
    trip: float | str | Limits
    """Trips above a ceiling, below a floor, outside of a band ``[low, high]``, or at the value itself."""
    clear: float | Limits | None = None
    """Clears at or below a ceiling, at or above a floor, inside of a band; as ``trip`` if left out."""
    dwell_s: float = Field(default=0.0, ge=0)
    """How long (lab seconds) the condition must last before it trips."""
    missing: Literal["ignore", "trip"] = "ignore"
    """What it means if the reading cannot be had."""
    covers: tuple[str, ...] = Field(min_length=1)
    """Device ids and module instances; for ``estop`` modules, or ``lab``."""
    does: Literal["block", "pause", "abort", "estop"] = "block"
    """Nothing starts on what it covers; and what runs there goes on, is paused, is aborted, or is stopped at once."""

    @property
    def device(self) -> str:
        """The device that is read."""
        return self.reading.partition(".")[0]

    @property
    def name(self) -> str:
        """The figure that is read."""
        return self.reading.partition(".")[2]

    @model_validator(mode="after")
    def _thresholds_fit(self) -> InterlockSection:
        if self.rule == "band":
            if not isinstance(self.trip, tuple) or self.trip[0] > self.trip[1]:
                raise ValueError("a band's trip is [low, high]")
            if self.clear is not None and not (
                isinstance(self.clear, tuple) and self.trip[0] <= self.clear[0] <= self.clear[1] <= self.trip[1]
            ):
                raise ValueError("a band's clear is [low, high] inside of trip")
        elif self.rule == "equals":
            if isinstance(self.trip, tuple) or self.clear is not None:
                raise ValueError("equals has one value as trip, and clears at any other")
        else:
            if not isinstance(self.trip, float) or isinstance(self.clear, tuple):
                raise ValueError(f"a {self.rule} has one number as trip, and one as clear")
            if self.clear is not None and (
                self.clear > self.trip if self.rule == "ceiling" else self.clear < self.trip
            ):
                side = "below" if self.rule == "ceiling" else "above"
                raise ValueError(f"a {self.rule} clears at trip or {side} it")
        return self

    def violated(self, value: Value | None) -> bool:
        """Tell whether a reading is beyond the trip threshold."""
        if value is None or (isinstance(value, float) and value != value):
            return self.missing == "trip"
        if self.rule == "equals":
            return value == self.trip
        if isinstance(value, str):
            return self.missing == "trip"
        match self.rule, self.trip:
            case "ceiling", float() as limit:
                return value > limit
            case "floor", float() as limit:
                return value < limit
            case "band", (low, high):
                return not low <= value <= high
        return False

    def cleared(self, value: Value | None) -> bool:
        """Tell whether a reading is back behind the clear threshold. What cannot be read clears nothing."""
        if value is None or (isinstance(value, float) and value != value):
            return False
        if self.rule == "equals":
            return value != self.trip
        if isinstance(value, str):
            return False
        match self.rule, self.trip if self.clear is None else self.clear:
            case "ceiling", float() as limit:
                return value <= limit
            case "floor", float() as limit:
                return value >= limit
            case "band", (low, high):
                return low <= value <= high
        return False


class InterlockRecord(BaseModel):
    """An interlock as it is, or as it became."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    interlock: str
    tripped: bool
    serial: int
    """Rises with every trip and clear."""
    value: Value | None
    """The reading that did it."""
    host: str
    at: str
    lab_s: float


class Judge:
    """Decides from one reading after another whether an interlock is tripped."""

    def __init__(self, section: InterlockSection, *, tripped: bool = False) -> None:
        self.section = section
        self.tripped = tripped
        self._since_s: float | None = None

    def look(self, value: Value | None, lab_s: float) -> bool:
        """Take in a reading at a lab time; return whether the interlock has tripped or cleared by it."""
        if self.tripped:
            if self.section.cleared(value):
                self.tripped, self._since_s = False, None
                return True
            return False
        if not self.section.violated(value):
            self._since_s = None
            return False
        self._since_s = lab_s if self._since_s is None else self._since_s
        if lab_s - self._since_s >= self.section.dwell_s:
            self.tripped = True
            return True
        return False
