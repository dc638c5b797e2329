"""The verbs of a job over REST: hold, release, pause, resume, stop, abort, halt; and which of them are legal now."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import Http404
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from octolab.api.serializers import StrictSerializer, body
from octolab.api.views import ApiView, asker
from scheduler.models import Job
from scheduler.services import requests, windows
from scheduler.services.verbs import CONTROLS, legal
from users.models import LabRole, Scope
from users.permissions import needs

from . import verbs
from .outputs import JobOutput, MomentField, WishOutput, shown_job

_TAG = ["jobs"]
_WHAT = {
    "hold": "Start nothing more of a job. What runs is finished; samples keep their places.",
    "release": "Let a held job go on.",
    "pause": "Let a job wait at the next safe points. Actions without one run to their end; dwell times go on.",
    "resume": "Let a paused job go on.",
    "stop": "End a job early as a success: what runs stops at its next safe point, and all data are kept.",
    "abort": "End a job as a failure: what runs is aborted, and samples are put away.",
    "halt": "End a job without any clean-up: no command is sent any more. Operators of all its modules only.",
}


class ReasonInput(StrictSerializer):
    """Why."""

    reason = serializers.CharField(required=False, default="", allow_blank=True, max_length=1000)


def _visible(request: Request, job_id: UUID) -> Job:
    jobs = Job.objects.visible_to(asker(request)).select_related("project", "owner")
    return get_object_or_404(jobs, pk=job_id)


class _Verb(ApiView):
    access = {"POST": needs(Scope.JOBS_WRITE)}
    problems = {"POST": (409,)}
    verb = ""

    def ask(self, request: Request, job: Job) -> requests.Answer:
        """Ask the scheduler."""
        with verbs.as_problems():
            return requests.control_job(asker(request), job, self.verb, body(ReasonInput, request)["reason"], wait_s=0)


def view_of(verb: str) -> Any:
    """Return the view of a verb."""

    class Verb(_Verb):
        @extend_schema(
            operation_id=f"jobs_{verb}",
            description=f"{_WHAT[verb]} Asking again changes nothing.",
            request=ReasonInput,
            responses={202: JobOutput},
            tags=_TAG,
        )
        def post(self, request: Request, job_id: UUID) -> Response:
            job = _visible(request, job_id)
            answer = self.ask(request, job)
            response = Response(shown_job(job), status=202)
            if answer.applied:
                return response
            return verbs.when_applied(response, request, answer.request, lambda: shown_job(_visible(request, job_id)))

    Verb.verb = verb
    Verb.__doc__ = _WHAT[verb]
    return Verb.as_view()


class Halt(_Verb):
    """Halting a job."""

    access = {"POST": needs(Scope.DEVICES_CONTROL, lab_role=LabRole.Role.OPERATOR)}
    verb = "halt"

    @extend_schema(
        operation_id="jobs_halt", description=_WHAT["halt"], request=ReasonInput, responses={202: WishOutput}, tags=_TAG
    )
    def post(self, request: Request, job_id: UUID) -> Response:
        """Halt a job."""
        job = get_object_or_404(Job, pk=job_id)
        if not requests.may_control(asker(request), job, "halt"):
            raise Http404
        answer = self.ask(request, job)
        return (
            Response(WishOutput(answer.request).data, status=202) if answer.applied else verbs.wished(request, answer)
        )


class WindowOutput(serializers.Serializer[Any]):
    """A window that a hold or a pause would break, if it lasted so long."""

    step = serializers.UUIDField(source="step.pk")
    name = serializers.CharField(source="step.name")
    after = serializers.UUIDField(source="after.pk")
    within_s = serializers.FloatField()
    latest = MomentField("latest_lab_s")
    on_breach = serializers.CharField()


class Verbs(ApiView):
    """What may be asked of a job now."""

    access = {"GET": needs(Scope.JOBS_READ)}

    @extend_schema(
        operation_id="jobs_verbs",
        responses=inline_serializer(
            "JobVerbs",
            {
                "state": serializers.CharField(),
                "verbs": serializers.ListField(child=serializers.CharField(), help_text="Legal now, and for you."),
                "windows": WindowOutput(many=True, help_text="What a hold or a pause would break if it lasted."),
            },
        ),
        tags=_TAG,
    )
    def get(self, request: Request, job_id: UUID) -> Response:
        """List the verbs that are legal in a job's present state, and the windows that a hold or pause would break."""
        job, user = _visible(request, job_id), asker(request)
        possible = legal(job)
        mine = [verb for verb in CONTROLS if verb in possible and requests.may_control(user, job, verb)]
        return Response(
            {
                "state": job.state,
                "verbs": [*mine, "rerun"],
                "windows": WindowOutput(windows.at_risk(job), many=True).data,
            }
        )
