"""Closed loops: an optimiser suggests samples, a job makes and measures them, the optimiser learns, and so on.

Nothing is kept here. What was tried and measured stands in the jobs of the loop's campaign, so that a loop which was
stopped, on whatever machine, goes on where it was when it is run again.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from analysis.optimisers import OPTIMISERS, Choice, Continuous, Dimension, Settings, Trial

from .calls import FINAL, Job
from .errors import OctolabError
from .results import Results
from .synchronous import Octolab

MOST_EXPECTED = 20
"""How many coming cycles a job may announce."""
DIGITS = 4
"""Significant digits of a suggested quantity."""
OPERATOR_POLL_S = 5.0
_QUANTITY = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(.*?)\s*")
_CYCLE = re.compile(r"cycle-(\d+)")
_OWN_KEYS = ("samples", "campaign", "key", "expects")


class LoopError(OctolabError):
    """A loop is not well described, or cannot go on; the text says why, and what to do."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Range(_Model):
    """From one quantity to another, both included."""

    from_: str | float = Field(alias="from")
    to: str | float
    spacing: Literal["linear", "log"] = "linear"


class Goal(_Model):
    """What is wanted of a result."""

    result: str = Field(pattern=r"^[^.]+\.[^.]+$")
    """``task.value``, as the workflow calls them."""
    aim: Literal["minimise", "maximise"] | float
    """A number is to be met, in the unit in which the result is measured."""


class Loop(_Model):
    """A closed loop, as a file describes it."""

    campaign: str
    vary: dict[str, Range | list[str | float | int]] = Field(min_length=1)
    goal: Goal
    samples: Annotated[int, Field(ge=1, le=500)] = 4
    """In each cycle."""
    cycles: Annotated[int, Field(ge=1)] = 5
    optimiser: Literal["tpe", "random", "grid"] = "tpe"
    seed: int = 0
    job: dict[str, Any]
    """What is done in each cycle: a job without samples."""

    @field_validator("job")
    @classmethod
    def _leaves_room(cls, job: dict[str, Any]) -> dict[str, Any]:
        if taken := [key for key in _OWN_KEYS if key in job]:
            raise ValueError(f"the loop itself gives {' and '.join(taken)} to each job; leave it out")
        return job

    @model_validator(mode="after")
    def _varies_what_it_can(self) -> Loop:
        self.settings()
        return self

    def settings(self) -> Settings:
        """Return what the optimiser is made with; ``ValueError`` if a range is none."""
        space = tuple(_dimension(name, wanted) for name, wanted in self.vary.items())
        goal: Literal["minimise", "maximise"] = self.goal.aim if isinstance(self.goal.aim, str) else "minimise"
        return Settings(space=space, goal=goal, seed=self.seed)

    def objective(self, measured: float) -> float:
        """Return what the optimiser is told of a result: itself, or how far it is from the aim."""
        return measured if isinstance(self.goal.aim, str) else abs(measured - self.goal.aim)


@dataclass(frozen=True)
class Cycle:
    """One cycle that is over."""

    number: int
    """From 1."""
    job: Job
    trials: tuple[Trial, ...]
    """Its samples; ``values`` in the units of the loop's ranges."""
    measured: tuple[float | None, ...]
    """The goal's result of each trial; None if it was not measured."""
    unit: str
    """Of ``measured``."""
    best: Trial | None
    """The best of this cycle and all before."""


def load(file: Path) -> Loop:
    """Read a loop from a YAML file.

    Raises
    ------
    LoopError
        If it is not a loop; the text names every place.
    """
    try:
        return Loop.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise LoopError(f"{file} is not YAML: {error}") from None
    except ValidationError as error:
        rows = (f"  {'.'.join(map(str, row['loc']))}: {_sentence(row['msg'])}" for row in error.errors())
        raise LoopError("\n".join([f"{file} does not describe a loop:", *rows])) from None


def _unseen(number: int, job: Job) -> None:
    """Nobody watches."""


def run(lab: Octolab, loop: Loop, *, on_change: Callable[[int, Job], None] = _unseen) -> Iterator[Cycle]:
    """Go through a loop, and yield each cycle when it is over; those of an earlier run come at once.

    Parameters
    ----------
    on_change
        Called with the cycle's number and its job each time that the job has changed.

    Raises
    ------
    LoopError
        If a cycle was cancelled or measured nothing while it was watched: somebody should look before more is made.
        Run again, the loop goes on with the next cycle.
    InvalidError
        If the server refuses a cycle's job; ``errors`` says why.
    """
    settings, trials = loop.settings(), list[Trial]()
    earlier = _cycles_of(lab, loop)
    for number in range(1, loop.cycles + 1):
        job = earlier.get(number)
        watched = job is None or job["state"] not in FINAL
        if job is None:
            suggested = OPTIMISERS[loop.optimiser](settings, trials).ask(loop.samples)
            if not suggested:
                return
            job = lab.submit(_job(loop, number, suggested), key=f"{loop.campaign}/cycle-{number}")
        if watched:
            job = _finish(lab, job["id"], partial(on_change, number))
        cycle = _cycle(loop, settings, number, job, lab.results(job["id"]), trials)
        trials += cycle.trials
        yield cycle
        if watched:
            _may_go_on(cycle)


def _cycles_of(lab: Octolab, loop: Loop) -> dict[int, Job]:
    """Return number → job of the cycles that were submitted before; of several the newest."""
    found = {}
    for job in reversed(lab.jobs(campaign=loop.campaign, project=loop.job.get("project"), owner="me")):
        if cycle := _CYCLE.fullmatch(job["campaign_key"]):
            found[int(cycle[1])] = job
    return found


def _job(loop: Loop, number: int, suggested: Sequence[Trial]) -> dict[str, Any]:
    space = loop.settings().space
    samples = [
        {"name": f"{number}.{index}", "with": {d.name: _written(d, trial.values[d.name]) for d in space}}
        for index, trial in enumerate(suggested, start=1)
    ]
    return {
        **loop.job,
        "name": f"{loop.job.get('name', loop.campaign)}, cycle {number}",
        "campaign": loop.campaign,
        "key": f"cycle-{number}",
        "expects": min(MOST_EXPECTED, loop.cycles - number),
        "samples": samples,
    }


def _finish(lab: Octolab, job_id: str, on_change: Callable[[Job], None]) -> Job:
    while (job := lab.wait(job_id, on_change=on_change))["state"] not in FINAL:
        time.sleep(OPERATOR_POLL_S)
    return job


def _cycle(loop: Loop, settings: Settings, number: int, job: Job, results: Results, before: Sequence[Trial]) -> Cycle:
    task, name = loop.goal.result.split(".")
    trials, measured, unit = list[Trial](), list[float | None](), ""
    values = results.values()
    for sample in results.document["samples"]:
        found = values[sample["name"]].get(task, {}).get(name, {"value": None, "unit": unit})
        got, unit = found["value"], found["unit"]
        good = isinstance(got, int | float) and math.isfinite(got)
        measured.append(float(got) if good else None)
        trials.append(
            Trial(
                number=len(before) + len(trials),
                values={d.name: _value(d, sample["parameters"].get(d.name), number) for d in settings.space},
                state="measured" if good else "failed",
                objective=loop.objective(float(got)) if good else None,
            )
        )
    best = OPTIMISERS[loop.optimiser](settings, [*before, *trials]).best
    return Cycle(number, job, tuple(trials), tuple(measured), unit, best)


def _may_go_on(cycle: Cycle) -> None:
    if cycle.job["state"] == "cancelled":
        raise LoopError(f"Cycle {cycle.number} was cancelled, so the loop ends here. Run it again to go on.")
    if all(value is None for value in cycle.measured):
        reason = cycle.job["state_reason"] or "see the job"
        raise LoopError(f"Cycle {cycle.number} measured nothing ({reason}). Put it right, and run the loop again.")


# --- quantities ------------------------------------------------------------------------------------------------


def _dimension(name: str, wanted: Range | list[Any]) -> Dimension:
    if isinstance(wanted, list):
        return Choice(name=name, options=tuple(wanted))
    (low, unit), (high, other) = _quantity(wanted.from_), _quantity(wanted.to)
    if unit != other:
        raise ValueError(f"{name} goes from {wanted.from_} to {wanted.to}: give both in one unit")
    return Continuous(name=name, low=low, high=high, unit=unit, log=wanted.spacing == "log")


def _quantity(written: str | float) -> tuple[float, str]:
    found = _QUANTITY.fullmatch(str(written))
    if found is None:
        raise ValueError(f"{written!r} is not a number with a unit, such as 100 µL")
    return float(found[1]), found[2]


def _written(dimension: Dimension, value: Any) -> Any:
    """Return a suggested value as it stands in a job: of a range with few digits and its unit, a choice as it is."""
    if isinstance(dimension, Choice):
        return value
    rounded = min(dimension.high, max(dimension.low, float(f"{value:.{DIGITS}g}")))
    return f"{rounded:.15g} {dimension.unit}" if dimension.unit else rounded


def _value(dimension: Dimension, given: Any, cycle: int) -> Any:
    """Return the value that a sample of an earlier job had.

    Raises
    ------
    LoopError
        If it does not lie in the space: the loop was changed since.
    """
    written = f"{given['value']} {given['unit']}" if isinstance(given, Mapping) else given
    if isinstance(dimension, Choice):
        for option in dimension.options:
            if option == written or _same(option, written):
                return option
    elif written is not None:
        number, unit = _quantity(written)
        if unit == dimension.unit and dimension.low <= number <= dimension.high:
            return number
    raise LoopError(
        f"Cycle {cycle} of this campaign had {dimension.name} = {written}, which this loop does not vary over. "
        "Give the changed loop another campaign name."
    )


def _same(one: Any, other: Any) -> bool:
    try:
        return _quantity(one) == _quantity(other)
    except ValueError:
        return False


def _sentence(message: str) -> str:
    return message.removeprefix("Value error, ")
