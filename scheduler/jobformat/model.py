"""The job format, as one pydantic schema. ``docs/reference/job-format.md`` explains it with examples."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    Tag,
)

MAX_SAMPLES = 500
MAX_TASKS = 200

Key = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]
"""Name of a task in the workflow."""
ParameterName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]
MAX_LIST = 200


def _short_lists(value: JsonValue) -> JsonValue:
    if isinstance(value, list) and len(value) > MAX_LIST:
        raise ValueError(f"a list has at most {MAX_LIST} values, this one has {len(value)}")
    return value


Value = Annotated[JsonValue, AfterValidator(_short_lists)]
Values = dict[ParameterName, Value]
Duration = Annotated[
    str | float,
    Field(
        description="A time with its unit, or a number of seconds.",
        examples=["5 min", "2 h", 30],
    ),
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


Texts = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=100)], ...], BeforeValidator(_as_tuple)]


class FromSample(_Model):
    """A sample that an earlier job has stored."""

    sample: Annotated[UUID, Field(strict=False)] = Field(description="Id of the earlier sample.")


class FromPosition(_Model):
    """A sample that you put into the lab by hand."""

    position: str = Field(
        max_length=200,
        description="The place where you put it, as it is named in the lab.",
        examples=["vial_storage.1.4"],
    )


def _kind_of_source(value: Any) -> str:
    if isinstance(value, FromSample) or (isinstance(value, dict) and "sample" in value):
        return "<sample>"
    if isinstance(value, FromPosition | dict):
        return "<position>"
    return "<made>"


Source = Annotated[
    Annotated[Literal["made"], Tag("<made>")]
    | Annotated[FromSample, Tag("<sample>")]
    | Annotated[FromPosition, Tag("<position>")],
    Discriminator(_kind_of_source),
]


class SampleEntry(_Model):
    """One sample of a list."""

    name: str | None = Field(default=None, min_length=1, max_length=200, description="What people call it.")
    with_: Values = Field(default={}, alias="with", description="Its parameters; they hide the job's of the same name.")
    from_: Source = Field(
        default="made",
        alias="from",
        description="Where it comes from: `made` by the job, an earlier sample, or a place where you put it.",
    )


class Range(_Model):
    """Evenly spaced values: give `count` or `step`."""

    from_: str | float = Field(alias="from", description="First value.", examples=["100 µL"])
    to: str | float = Field(description="Last value; with `step` the last that is not beyond.", examples=["1200 µL"])
    count: int | None = Field(default=None, ge=1, le=MAX_SAMPLES, description="How many values.")
    step: str | float | None = Field(default=None, description="Distance between two values.", examples=["100 µL"])
    spacing: Literal["linear", "log"] = Field(default="linear", description="Equal differences or equal ratios.")


def _kind_of_axis(value: Any) -> str:
    return "<range>" if isinstance(value, Range | dict) else "<values>"


Axis = Annotated[
    Annotated[
        tuple[JsonValue, ...],
        Field(min_length=1, max_length=MAX_SAMPLES),
        BeforeValidator(_as_tuple),
        Tag("<values>"),
    ]
    | Annotated[Range, Tag("<range>")],
    Discriminator(_kind_of_axis),
]


class Sweep(_Model):
    """Samples whose parameters run over values."""

    sweep: dict[ParameterName, Axis] = Field(
        min_length=1, description="For each parameter a list of values, or a range."
    )
    combine: Literal["product", "zip"] = Field(
        default="product", description="`product`: every combination; `zip`: first with first, second with second."
    )
    repeat: int = Field(default=1, ge=1, le=MAX_SAMPLES, description="How many samples of each combination.")
    shuffle: int | None = Field(
        default=None, ge=0, le=2**32, description="Seed: the samples are made in an order that it determines."
    )


def _kind_of_samples(value: Any) -> str:
    if isinstance(value, Sweep | dict):
        return "<sweep>"
    return "<list>" if isinstance(value, list | tuple) else "<count>"


Samples = Annotated[
    Annotated[int, Field(ge=1, le=MAX_SAMPLES), Tag("<count>")]
    | Annotated[
        tuple[SampleEntry, ...],
        Field(min_length=1, max_length=MAX_SAMPLES),
        BeforeValidator(_as_tuple),
        Tag("<list>"),
    ]
    | Annotated[Sweep, Tag("<sweep>")],
    Discriminator(_kind_of_samples),
]


def _kind_of_delay(value: Any) -> str:
    return "<each>" if isinstance(value, dict) else "<all>"


Delay = Annotated[
    Annotated[Duration, Tag("<all>")] | Annotated[dict[Key, Duration], Tag("<each>")],
    Discriminator(_kind_of_delay),
]


class OnFailure(_Model):
    """What happens when a step of the task fails."""

    retry: int | None = Field(
        default=None,
        ge=0,
        le=5,
        description="How often it is done again, as far as that is safe; the job's `retries` if left out.",
    )
    wait: Duration = Field(default=0.0, description="How long to wait before the first repetition; doubled each time.")
    then: Literal["skip", "pause", "abort"] = Field(
        default="skip",
        description="Finally: give the sample up and go on with the others, pause the job besides, or abort it.",
    )


class TaskEntry(_Model):
    """One task of the workflow."""

    id: Key | None = Field(
        default=None, description="Its name in this job; the task's name if left out, with a number if that is taken."
    )
    task: str = Field(
        max_length=200, description="What is done: `module.task`.", examples=["batch_synthesis.add", "uv_vis.measure"]
    )
    with_: Values = Field(
        default={},
        alias="with",
        description="Its parameters. `$name` is a parameter of the sample or the job, `$id.result` is what an earlier "
        "task has measured.",
    )
    needs: Annotated[tuple[Key, ...], BeforeValidator(lambda v: _as_tuple(_as_list(v)))] | None = Field(
        default=None, description="Tasks that must be done before; the previous one if left out."
    )
    after: Delay | None = Field(
        default=None, description="The shortest time since the end of the tasks before, or of named ones."
    )
    within: Delay | None = Field(
        default=None, description="The longest time since the end of the tasks before, or of named ones."
    )
    on_breach: Literal["flag", "fail", "ask"] = Field(
        default="flag",
        description="What happens if `within` cannot be kept: the result is flagged, the sample fails, or an "
        "operator is asked.",
    )
    on_failure: OnFailure | None = Field(
        default=None, description="What happens if it fails; the sample is given up if left out."
    )


MAX_EXPECTED = 20
"""Cycles of a closed loop that are planned ahead."""


class JobDocument(_Model):
    """A job, as a user submits it."""

    model_config = ConfigDict(title="octolab job")

    format: Literal[1] = Field(default=1, description="Version of the job format.")
    name: str = Field(min_length=1, max_length=200, description="What people call the job.")
    project: str | None = Field(
        default=None, max_length=64, description="Short name of the project; your personal one if left out."
    )
    campaign: Key | None = Field(
        default=None, description="The campaign that it belongs to: jobs of one project that refer to each other."
    )
    key: Key | None = Field(default=None, description="What other jobs of the campaign call it.")
    description: str = Field(default="", max_length=10_000, description="Whatever helps to understand the job later.")
    tags: Texts = Field(default=(), max_length=20, description="Words to find the job by.")
    priority: int = Field(default=0, ge=-10, le=10, description="From -10 to 10; 0 is normal.")
    deadline: str | None = Field(
        default=None,
        max_length=40,
        description="When the results are needed: ISO date and time; in the lab's time zone if it names none.",
        examples=["2026-12-01T09:00", "2026-12-01T08:00:00Z"],
    )
    retries: int = Field(
        default=0,
        ge=0,
        le=5,
        description="How often a step that failed may be done again. Only what is safe to repeat ever is.",
    )
    expects: int = Field(
        default=0,
        ge=0,
        le=MAX_EXPECTED,
        description="How many more jobs like this one will follow, one after the other, as the next cycles of a closed "
        "loop. They are planned with placeholders as long as this job is open, so that others see honest times.",
    )
    recipients: Texts = Field(
        default=(), max_length=20, description="User names of project members who are told too; you always are."
    )
    parameters: Values = Field(default={}, description="Values that tasks of all samples refer to as `$name`.")
    samples: Samples | None = Field(
        default=None, description="A number of equal samples, a list, or a sweep; one sample if left out."
    )
    end: Literal["stored"] = Field(
        default="stored", description="Where samples end: they are stored, and the job says where to collect them."
    )
    workflow: Annotated[tuple[TaskEntry, ...], BeforeValidator(_as_tuple)] = Field(
        min_length=1, max_length=MAX_TASKS, description="What is done with each sample, in this order."
    )

    def normalised(self) -> dict[str, Any]:
        """Return the document as plain data without what is default; it reads back to the same job."""
        data = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return {"format": self.format, "retries": self.retries, **data}
