"""Steps that wait for a person, over REST."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import Http404
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from octolab.api.errors import invalid
from octolab.api.serializers import StrictSerializer, body
from octolab.api.views import ApiView, asker
from scheduler.models import Step
from scheduler.services import people
from users.models import Scope
from users.permissions import needs

from . import verbs
from .outputs import StepOutput, WishOutput

_TAG = ["steps"]


class FieldOutput(serializers.Serializer[Any]):
    """One field of a form."""

    name = serializers.CharField()
    title = serializers.CharField()
    dtype = serializers.CharField()
    unit = serializers.CharField()
    minimum = serializers.FloatField(allow_null=True, help_text="In `unit`.")
    maximum = serializers.FloatField(allow_null=True)
    choices = serializers.ListField(child=serializers.CharField())
    needed = serializers.BooleanField(source="required")
    description = serializers.CharField()


class ParameterOutput(serializers.Serializer[Any]):
    """What the job says about a step."""

    name = serializers.CharField()
    value = serializers.JSONField()
    unit = serializers.CharField()


class FormOutput(serializers.Serializer[Any]):
    """What a person is asked for."""

    title = serializers.CharField()
    description = serializers.CharField()
    instruction = serializers.CharField()
    parameters = ParameterOutput(many=True)
    questions = FieldOutput(many=True)


class SampleAtOutput(serializers.Serializer[Any]):
    """A sample and where it stands."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    places = serializers.ListField(child=serializers.CharField())


class StepDetailOutput(StepOutput):
    """A step; with a form if a person does it."""

    job = serializers.UUIDField(source="job_id", read_only=True)
    form = FormOutput(read_only=True, allow_null=True)
    stands = SampleAtOutput(many=True, read_only=True)

    class Meta(StepOutput.Meta):
        fields = (*StepOutput.Meta.fields, "job", "person", "form", "stands")
        read_only_fields = fields


class HumanSteps(ApiView):
    """Steps that wait for a person."""

    access = {"GET": needs(Scope.JOBS_READ)}

    @extend_schema(operation_id="steps_waiting", responses=StepDetailOutput(many=True), tags=_TAG)
    def get(self, request: Request) -> Response:
        """List the steps that wait for a person and that you may answer, the oldest first."""
        return Response([_shown(step) for step in people.waiting_for(asker(request))[:200]])


class StepDetail(ApiView):
    """One step."""

    access = {"GET": needs(Scope.JOBS_READ)}

    @extend_schema(operation_id="steps_get", responses=StepDetailOutput, tags=_TAG)
    def get(self, request: Request, step_id: UUID) -> Response:
        """Show a step; if a person does it, what is asked for."""
        return Response(_shown(_visible(request, step_id)))


class AnswerInput(StrictSerializer):
    """A person's answer."""

    values = serializers.DictField(
        child=serializers.JSONField(allow_null=True),
        default=dict,
        help_text="Field: value, as a number in the field's unit or as text with a unit.",
    )
    note = serializers.CharField(default="", allow_blank=True, max_length=people.MAX_TEXT)
    cannot = serializers.BooleanField(
        default=False, help_text="It cannot be done; the note says why. The job's failure policy follows."
    )


class AnswerStep(ApiView):
    """Answering a step."""

    access = {"POST": needs(Scope.JOBS_WRITE)}
    problems = {"POST": (409,)}

    @extend_schema(operation_id="steps_answer", request=AnswerInput, responses={202: WishOutput}, tags=_TAG)
    def post(self, request: Request, step_id: UUID) -> Response:
        """Answer a step that waits for a person; the answers are its results. The same answer again changes nothing.

        The job's owner, admins of its project and operators of the module may.
        """
        step = _visible(request, step_id)
        people.require(people.may_answer(asker(request), step), "You may see this step, but not answer it.")
        given = body(AnswerInput, request)
        try:
            with verbs.as_problems():
                answer = people.answer(
                    asker(request), step, given["values"], given["note"], cannot=given["cannot"], wait_s=0
                )
        except people.AnswerRefused as refused:
            raise invalid(
                *((f"/values/{name}" if name != "note" else "/note", message) for name, message in refused.problems)
            ) from refused
        if answer.applied:
            return Response(WishOutput(answer.request).data, status=202)
        return verbs.wished(request, answer)


def _visible(request: Request, step_id: UUID) -> Step:
    step = get_object_or_404(Step.objects.select_related("job__project", "job__owner"), pk=step_id)
    if not people.may_see(asker(request), step):
        raise Http404
    return step


def _shown(step: Step) -> Any:
    step.form = _form(step) if step.person else None  # type: ignore[attr-defined]
    step.stands = people.where_samples_stand(step)  # type: ignore[attr-defined]
    return StepDetailOutput(step).data


def _form(step: Step) -> dict[str, Any]:
    form = people.form_of(step)
    return {
        "title": form.title,
        "description": form.description,
        "instruction": form.instruction,
        "parameters": [dict(zip(("name", "value", "unit"), given, strict=True)) for given in form.parameters],
        "questions": form.fields,
    }
