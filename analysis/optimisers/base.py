"""Ask and tell: an optimiser suggests, somebody measures, the optimiser is told.

An optimiser is nothing but its settings and its trials: :meth:`Optimiser.document` holds both, and an optimiser made of
it suggests exactly what the first would have. So a campaign survives every restart.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Value = float | int | str


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Continuous(_Model):
    """A number between two bounds, both included."""

    kind: Literal["continuous"] = "continuous"
    name: str
    low: float
    high: float
    unit: str = ""
    log: bool = False
    """Whether equal ratios matter, not equal differences."""

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"{self.name}: low has to be less than high")
        if self.log and self.low <= 0:
            raise ValueError(f"{self.name}: a logarithmic range begins above zero")
        return self


class Integer(_Model):
    """A whole number between two bounds, both included."""

    kind: Literal["integer"] = "integer"
    name: str
    low: int
    high: int
    unit: str = ""

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"{self.name}: low has to be less than high")
        return self


class Choice(_Model):
    """One of several values."""

    kind: Literal["choice"] = "choice"
    name: str
    options: tuple[Value, ...] = Field(min_length=1)
    unit: str = ""


Dimension = Annotated[Continuous | Integer | Choice, Field(discriminator="kind")]


class Trial(_Model):
    """One suggestion, and what became of it."""

    number: int
    values: dict[str, Value]
    state: Literal["open", "measured", "failed"] = "open"
    objective: float | None = None


class Settings(_Model):
    """What an optimiser is made with."""

    space: tuple[Dimension, ...] = Field(min_length=1)
    goal: Literal["minimise", "maximise"]
    seed: int = 0

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [dimension.name for dimension in self.space]
        if len(set(names)) != len(names):
            raise ValueError("two dimensions have the same name")
        return self


class Optimiser(ABC):
    """Suggests what to measure next.

    Parameters
    ----------
    settings
        Space, goal and seed.
    trials
        What was suggested before, in order.
    """

    name: ClassVar[str]

    def __init__(self, settings: Settings, trials: Sequence[Trial] = ()) -> None:
        if [trial.number for trial in trials] != list(range(len(trials))):
            raise ValueError("the trials are not numbered 0, 1, 2, …")
        self.settings = settings
        self._trials = list(trials)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All trials, in the order in which they were suggested."""
        return tuple(self._trials)

    def ask(self, count: int = 1) -> list[Trial]:
        """Suggest up to ``count`` trials; fewer or none if there is nothing left to try."""
        asked = []
        for _ in range(count):
            number = len(self._trials)
            values = self._suggest(number)
            if values is None:
                break
            asked.append(Trial(number=number, values=values))
            self._trials.append(asked[-1])
        return asked

    def tell(self, number: int, objective: float) -> None:
        """Say what a trial gave; a value that is not finite counts as failed.

        Raises
        ------
        ValueError
            If the trial was never suggested, or something else was told of it before.
        """
        good = math.isfinite(objective)
        self._close(number, "measured" if good else "failed", objective if good else None)

    def tell_failed(self, number: int) -> None:
        """Say that a trial could not be measured."""
        self._close(number, "failed", None)

    def _close(self, number: int, state: Literal["measured", "failed"], objective: float | None) -> None:
        if not 0 <= number < len(self._trials):
            raise ValueError(f"trial {number} was never suggested")
        closed = self._trials[number].model_copy(update={"state": state, "objective": objective})
        if self._trials[number].state != "open" and self._trials[number] != closed:
            raise ValueError(f"something else was told of trial {number} before")
        self._trials[number] = closed

    @property
    def best(self) -> Trial | None:
        """The best trial that was measured; the first of equals."""
        measured = [trial for trial in self._trials if trial.objective is not None]
        sign = 1 if self.settings.goal == "minimise" else -1
        return min(measured, key=lambda trial: sign * (trial.objective or 0.0), default=None)

    def document(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return {
            "optimiser": self.name,
            "settings": self.settings.model_dump(mode="json"),
            "trials": [trial.model_dump(mode="json") for trial in self._trials],
        }

    @abstractmethod
    def _suggest(self, number: int) -> dict[str, Value] | None:
        """Return the values of the trial of that number, None if there is nothing left. Depends on nothing else."""
