"""What a routine is, and the register of those that there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from analysis.arrays import Slice


class Parameters(BaseModel):
    """Base of a routine's parameters: what it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Quantity:
    """A number with its unit."""

    value: float
    unit: str
    uncertainty: float | None = None
    """Standard uncertainty, in the same unit."""

    def document(self) -> dict[str, Any]:
        """Return ``{"value", "unit"}``, with ``"uncertainty"`` if it has one."""
        entry: dict[str, Any] = {"value": self.value, "unit": self.unit}
        return entry if self.uncertainty is None else entry | {"uncertainty": self.uncertainty}


@dataclass(frozen=True)
class NewArray:
    """An array that a routine made."""

    values: NDArray[Any]
    unit: str
    axes: Mapping[str, tuple[NDArray[Any], str]]


@dataclass(frozen=True)
class Findings:
    """What a routine found in a run."""

    values: Mapping[str, Quantity]
    arrays: Mapping[str, NewArray] = field(default_factory=dict)


class Routine(Protocol):
    """Analysis code: a function of a run's arrays and of parameters, nothing else.

    A change that changes any result takes a new ``version``; results of the old one stay where they are.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    title: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    """Names of the arrays that it reads."""
    parameters: ClassVar[type[Parameters]]

    def run(self, arrays: Mapping[str, Slice], parameters: Any) -> Findings:
        """Analyse one run; raise ``ValueError`` saying why it cannot be analysed."""
        ...


_registered: dict[str, Routine] = {}


def register(routine: Routine) -> Routine:
    """Add a routine; two of the same name and version are an error."""
    key = routine_id(routine)
    if key in _registered:
        raise ValueError(f"routine {key} is registered twice")
    _registered[key] = routine
    return routine


def routine_id(routine: Routine) -> str:
    """Return ``<name>@<version>``."""
    return f"{routine.name}@{routine.version}"


def get(key: str) -> Routine:
    """Return the routine ``<name>@<version>``, or the one registered last of a name.

    Raises
    ------
    KeyError
        If there is none.
    """
    for full in reversed(_registered):
        if key in (full, full.partition("@")[0]):
            return _registered[full]
    raise KeyError(key)


def known() -> tuple[Routine, ...]:
    """Return all routines."""
    return tuple(_registered.values())
