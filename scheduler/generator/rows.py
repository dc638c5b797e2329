"""What a job becomes: plain rows, named as the columns of :mod:`scheduler.models`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID


@dataclass(slots=True)
class SampleRow:
    """A sample."""

    id: UUID
    index: int
    name: str
    parameters: dict[str, Any]
    source: dict[str, Any]
    contents: list[dict[str, Any]]


@dataclass(slots=True)
class TaskRow:
    """A task of one sample, of several, or of none."""

    id: UUID
    key: str
    index: int
    module: str
    task: str
    parameters: dict[str, Any]
    cleanup: bool
    samples: list[SampleRow]


@dataclass(slots=True)
class StepRow:
    """A step; ``index`` is set when all are known."""

    id: UUID
    name: str
    module: str
    task_name: str
    action: str | None
    person: bool
    dormant: bool
    block: UUID
    devices: dict[str, str]
    takes: list[str]
    frees: list[str]
    settings: dict[str, float]
    consumes: dict[str, float]
    adds: dict[str, Any] | None
    needs: list[dict[str, Any]]
    duration_s: float
    task: TaskRow
    index: int = 0


@dataclass(slots=True)
class Expansion:
    """All rows of a job, in the order of their indices."""

    job_id: UUID
    samples: list[SampleRow] = field(default_factory=list)
    tasks: list[TaskRow] = field(default_factory=list)
    steps: list[StepRow] = field(default_factory=list)
    waits_for: tuple[str, ...] = ()
    """Keys of other jobs of the campaign to whose results it refers."""
    modules: tuple[str, ...] = ()
    """Module instances that the job uses."""

    @property
    def steps_total(self) -> int:
        """How many steps will be done if nothing fails."""
        return sum(not step.dormant for step in self.steps)

    def consumption(self) -> dict[str, float]:
        """Return how much of each stock all steps need, clean-up included."""
        needed: dict[str, float] = {}
        for step in self.steps:
            for stock, amount in step.consumes.items():
                needed[stock] = needed.get(stock, 0.0) + amount
        return needed
