"""Steps that wait for a person: what is asked, who may answer, and the answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from modules.contract import manifest as contract
from scheduler import catalogue
from scheduler.generator.offers import BadValue, Parameter
from scheduler.models import Job, Manifest, Request, Step
from scheduler.states import StepState
from users.models import User
from users.permissions import may_change, require

from .requests import WAIT_S, Answer, IllegalStateError, ask

MAX_TEXT = 1000


class AnswerRefused(ValueError):  # noqa: N818 - reads as what happened
    """An answer that does not fit what was asked; ``problems`` has (field, sentence) for each thing that is wrong."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__("\n".join(f"{name}: {message}" for name, message in problems))
        self.problems = problems


@dataclass(frozen=True)
class Field:
    """One field of a form."""

    name: str
    title: str
    dtype: str
    unit: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    required: bool
    description: str

    def accept(self, value: Any) -> Any:
        """Return an answer in the declared unit.

        Raises
        ------
        BadValue
            The text says what would be right.
        """
        if isinstance(value, int | float) and not isinstance(value, bool) and not math.isfinite(value):
            raise BadValue("This must be a number that is finite.")
        return _parameter(self).accept(value)


@dataclass(frozen=True)
class Form:
    """What a person is asked for."""

    title: str
    description: str
    fields: tuple[Field, ...]
    parameters: tuple[tuple[str, Any, str], ...]
    """Name, value and unit of what the job says about it."""

    @property
    def instruction(self) -> str:
        """What the job tells the person to do."""
        return next((str(value) for name, value, _ in self.parameters if name == "instruction"), "")


def waiting_for(user: User) -> QuerySet[Step]:
    """Return the steps that wait for a person and that the user may answer, oldest first."""
    asked = Step.objects.filter(person=True, state=StepState.DISPATCHED).select_related("job__project", "job__owner")
    asked = asked.order_by("granted_at", "id")
    return asked.filter(pk__in=[step.pk for step in asked if may_answer(user, step)])


def may_see(user: User, step: Step) -> bool:
    """Tell whether a user may know of a step: a member of its project, or an operator of its module if it is asked."""
    return Job.objects.visible_to(user).filter(pk=step.job_id).exists() or (step.person and user.operates(step.module))


def may_answer(user: User, step: Step) -> bool:
    """Tell whether a user may answer: the job's owner, an admin of its project, or an operator of the module."""
    return user.operates(step.module) or may_change(user, step.job)


def where_samples_stand(step: Step) -> list[dict[str, Any]]:
    """Return a step's samples, and where each stands in the lab's own words."""
    kinds = catalogue.current().places
    found = []
    for row in step.members.exclude(sample=None).select_related("sample").prefetch_related("sample__places"):
        if row.sample is not None:
            held = sorted(row.sample.places.all(), key=lambda place: place.since_lab_s or 0.0)
            # The storage place that is kept for later is not where it stands.
            working = [place for place in held if place.resource in kinds and not kinds[place.resource].storage]
            places = [
                kinds[place.resource].name(place.index)
                if place.resource in kinds
                else f"{place.resource}.{place.index + 1}"
                for place in (working or held)[-1:]
            ]
            found.append({"id": row.sample.pk, "name": row.sample.name, "places": places})
    return found


def form_of(step: Step) -> Form:
    """Return what is asked for, from the manifest that the job was accepted with."""
    manifest = contract.Manifest.model_validate(
        Manifest.objects.get(hash=step.job.manifests.get(step.module, "")).document
    )
    task = manifest.task(step.task_name)
    member = step.members.select_related("task").first()
    given = member.task.parameters if member is not None else {}
    schema = task.parameters.get("properties", {})
    shown = [
        (name, value, str(schema.get(name, {}).get("unit", "")))
        for name, value in given.items()
        if value not in ("", [], None)
    ]
    return Form(task.title, task.description, tuple(map(_field, _results(task, step))), tuple(shown))


def answer(
    user: User,
    step: Step,
    values: Mapping[str, Any],
    note: str = "",
    *,
    cannot: bool = False,
    wait_s: float = WAIT_S,
) -> Answer:
    """Answer a step in one's own name: what was found, or (``cannot``) that it cannot be done, and why.

    The same answer given again by the same person changes nothing.

    Raises
    ------
    AnswerRefused
        If a value is missing, unknown or out of range; or if it cannot be done and no note says why.
    IllegalStateError
        If nobody is asked for the step.
    PermissionDenied
        If the user may not answer it.
    """
    require(may_answer(user, step), "Only the job's owner, admins of its project and operators may answer this.")
    form = form_of(step) if step.person else None
    payload: dict[str, Any] = {
        "step": str(step.pk),
        "attempt": f"{step.block}/{step.attempt}",
        "values": {} if cannot or form is None else _checked(form, values),
        "note": note.strip()[:MAX_TEXT],
        "cannot": cannot,
    }
    if step.state != StepState.DISPATCHED or form is None:
        if (earlier := _given(user, step, payload)) is not None:
            return Answer(earlier, applied=earlier.applied_at is not None)
        raise IllegalStateError(step.state, frozenset(), f"Nobody is asked for this step: it is {step.state}.")
    if cannot and not payload["note"]:
        raise AnswerRefused([("note", "Say why it cannot be done.")])
    if (earlier := _given(user, step, payload)) is not None:
        return Answer(earlier, applied=earlier.applied_at is not None)
    return ask("answer", user, step.job, wait_s, **payload)


def _given(user: User, step: Step, payload: dict[str, Any]) -> Request | None:
    """Return the very same answer if this person has given it before."""
    earlier = Request.objects.filter(verb="answer", job=step.job, actor=user, refused="").order_by("id")
    return next((row for row in earlier if row.payload == payload), None)


def _checked(form: Form, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answers with their units."""
    known = {field.name: field for field in form.fields}
    problems = [
        (name, f"This is not asked for. What is: {', '.join(known) or 'nothing but a note'}.")
        for name in values
        if name not in known
    ]
    accepted: dict[str, Any] = {}
    for name, field in known.items():
        value = values.get(name)
        if isinstance(value, str):
            value = value.strip()
        if value in (None, ""):
            if field.required:
                problems.append((name, "This is needed."))
            continue
        try:
            accepted[name] = {"value": field.accept(value), "unit": field.unit}
        except BadValue as error:
            problems.append((name, str(error)))
    if problems:
        raise AnswerRefused(problems)
    return accepted


def _results(task: contract.Task, step: Step) -> tuple[contract.Result, ...]:
    """Return what is asked at a step: everything at the task's last one that a person does, before it nothing."""
    attended = [known.name for known in task.steps if known.action is not None]
    block = {step.name, *Step.objects.filter(block=step.block).values_list("name", flat=True)}
    return task.results if attended[-1] in block else ()


def _field(result: contract.Result) -> Field:
    return Field(
        result.name, result.title or result.name.replace("_", " ").capitalize(), result.dtype, result.unit,
        result.minimum, result.maximum, result.choices, not result.optional, result.description,
    )  # fmt: skip


def _parameter(field: Field) -> Parameter:
    """Return what accepts a value, with the words and units of a job's parameters."""
    schema: dict[str, Any] = {"type": field.dtype, "unit": field.unit}
    if field.minimum is not None:
        schema["minimum"] = field.minimum
    if field.maximum is not None:
        schema["maximum"] = field.maximum
    if field.choices:
        schema["enum"] = list(field.choices)
    if field.dtype == "string":
        schema["maxLength"] = MAX_TEXT
    return Parameter(field.name, schema, field.required)
