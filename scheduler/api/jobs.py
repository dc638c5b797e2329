"""Jobs over REST, in the shape of the IBM Quantum job API where that has one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, OpenApiTypes, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from octolab.api.errors import invalid
from octolab.api.pagination import PageQuery, envelope, page
from octolab.api.parsers import YAML_PARSERS, StrictJSONParser, YAMLText
from octolab.api.serializers import CommaList, StrictSerializer, body, query
from octolab.api.views import ApiView, asker
from scheduler.jobformat.model import JobDocument
from scheduler.models import Job
from scheduler.services import requests
from scheduler.services.jobs import change_job, check_job, submit_job
from scheduler.states import JOB_FINAL, JobState
from users.models import Scope
from users.permissions import may_change, needs, require

from . import verbs
from .events import visible_events
from .outputs import (
    EventOutput,
    JobDetailOutput,
    JobOutput,
    MomentField,
    SubmittedOutput,
    WarningOutput,
    listed,
    shown_job,
    shown_warnings,
)

_TAG = ["jobs"]
_READ = needs(Scope.JOBS_READ)
_WRITE = needs(Scope.JOBS_WRITE)
PARTS = ("samples", "tasks", "steps")


class JobsQuery(PageQuery):
    """Which jobs."""

    state = CommaList(JobState.values, required=False, help_text="States, separated by commas.")
    project = serializers.SlugField(required=False, max_length=64)
    owner = serializers.CharField(required=False, max_length=150, help_text="A user name, or `me`.")
    campaign = serializers.CharField(required=False, max_length=64)
    since = serializers.DateTimeField(required=False, help_text="Submitted at this time or later.")
    text = serializers.CharField(required=False, max_length=200, help_text="Part of the name.")


class JobQuery(StrictSerializer):
    """How much of a job."""

    include = CommaList(
        [*PARTS, "none"], required=False, default=list(PARTS), help_text=f"Of {', '.join(PARTS)}; `none` for none."
    )


_IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "maxLength": 200, "pattern": "^[!-~]+$"},
    OpenApiParameter.HEADER,
    description="A submit with the key of an earlier one answers with that job and makes no second.",
)
_JOB_BODY: dict[tuple[str, str] | str, Any] = {
    "application/json": {
        "type": "object",
        "description": 'A job (schema at `/api/v1/schemas/job`), or `{"document": "…"}` with its text as YAML.',
    },
    **{parser.media_type: {"type": "string", "description": "A job as YAML."} for parser in YAML_PARSERS},
}


class Jobs(ApiView):
    """Jobs."""

    access = {"GET": _READ, "POST": _WRITE}
    problems = {"POST": (409, 429, 503)}
    parser_classes = (StrictJSONParser, *YAML_PARSERS)

    @extend_schema(operation_id="jobs_list", parameters=[JobsQuery], responses=listed("Jobs", JobOutput), tags=_TAG)
    def get(self, request: Request) -> Response:
        """List the jobs of your projects, newest first."""
        wish = query(JobsQuery, request)
        jobs = _visible(request)
        if "state" in wish:
            jobs = jobs.filter(state__in=wish["state"])
        if "project" in wish:
            jobs = jobs.filter(project__slug=wish["project"])
        if "owner" in wish:
            owner = asker(request).username if wish["owner"] == "me" else wish["owner"]
            jobs = jobs.filter(owner__username=owner)
        if "campaign" in wish:
            jobs = jobs.filter(campaign=wish["campaign"])
        if "since" in wish:
            jobs = jobs.filter(submitted_at__gte=wish["since"])
        if "text" in wish:
            jobs = jobs.filter(name__icontains=wish["text"])
        found, following = page(jobs, cursor=wish.get("cursor"), limit=wish["limit"])
        return Response(envelope(request, [shown_job(job) for job in found], following))

    @extend_schema(
        operation_id="jobs_submit",
        parameters=[_IDEMPOTENCY_KEY],
        request=_JOB_BODY,
        responses={202: SubmittedOutput},
        tags=_TAG,
    )
    def post(self, request: Request) -> Response:
        """Submit a job. It is checked completely before it is accepted; what is accepted is never lost.

        The predicted start and finish are null if the scheduler does not answer within 50 ms; they follow as an event.
        """
        with verbs.as_problems():
            job, _ = submit_job(
                user=asker(request),
                document=_document(request),
                idempotency_key=_idempotency_key(request),
                by_agent=verbs.by_agent(request),
            )
        return _accepted(job)


def _accepted(job: Job) -> Response:
    warnings = {"warnings": shown_warnings(job.spec)}
    response = Response(shown_job(job) | warnings, status=202, headers={"Location": f"/api/v1/jobs/{job.pk}"})
    if job.placed or job.state in JOB_FINAL or job.state == JobState.AWAITING_APPROVAL:
        return response

    def placed(placement: Mapping[str, Any]) -> Any:
        job.predicted_start_lab_s, job.predicted_finish_lab_s = (
            placement.get("start_lab_s"),
            placement.get("finish_lab_s"),
        )
        unknown = (None, None)
        job.predicted_start_low_lab_s, job.predicted_start_high_lab_s = placement.get("start_range") or unknown
        job.predicted_finish_low_lab_s, job.predicted_finish_high_lab_s = placement.get("finish_range") or unknown
        return shown_job(job) | warnings

    return verbs.when_placed(response, job.pk, placed)


_PREVIEW = inline_serializer(
    "Preview",
    {
        "name": serializers.CharField(),
        "project": serializers.CharField(),
        "samples": serializers.IntegerField(),
        "steps": serializers.IntegerField(),
        "consumption": serializers.DictField(child=serializers.FloatField(), help_text="Stock: amount in its unit."),
        "warnings": WarningOutput(many=True),
        "predicted_start": MomentField(),
        "predicted_finish": MomentField(),
        "reason": serializers.CharField(help_text="Why there is no prediction, if there is none."),
    },
)


class Preview(ApiView):
    """Asking before submitting."""

    access = {"POST": _WRITE}
    problems = {"POST": (503,)}
    parser_classes = (StrictJSONParser, *YAML_PARSERS)

    @extend_schema(operation_id="jobs_preview", request=_JOB_BODY, responses=_PREVIEW, tags=_TAG)
    def post(self, request: Request) -> Response:
        """Check a job and predict when it would run. Nothing is kept.

        The prediction is null if the scheduler does not answer in time.
        """
        with verbs.as_problems():
            checked = check_job(user=asker(request), document=_document(request))
        expansion = checked.expansion
        answer = {
            "name": checked.document.name,
            "project": checked.project.slug,
            "samples": len(expansion.samples),
            "steps": expansion.steps_total,
            "consumption": checked.consumption,
            "warnings": shown_warnings(checked.document.normalised()),
            "predicted_start": None,
            "predicted_finish": None,
            "reason": "",
        }
        return verbs.when_previewed(Response(answer), checked, answer)


class JobChange(StrictSerializer):
    """What of a job may still be changed."""

    name = serializers.CharField(required=False, max_length=200)
    priority = serializers.IntegerField(required=False, min_value=-10, max_value=10)
    deadline = serializers.CharField(
        required=False, allow_null=True, max_length=40, help_text="Date and time as in a job; null for none."
    )


class JobDetail(ApiView):
    """One job."""

    access = {"GET": _READ, "PATCH": _WRITE}
    problems = {"PATCH": (409,)}

    @extend_schema(operation_id="jobs_get", parameters=[JobQuery], responses=JobDetailOutput, tags=_TAG)
    def get(self, request: Request, job_id: UUID) -> Response:
        """Show a job with its samples, tasks and steps."""
        parts = query(JobQuery, request)["include"]
        prefetch = {
            "samples": ["samples__places"],
            "tasks": ["tasks__samples"],
            "steps": ["steps__members"],
        }
        jobs = _visible(request).prefetch_related(*(path for part in parts for path in prefetch.get(part, ())))
        job = get_object_or_404(jobs, pk=job_id)
        serializer = JobDetailOutput(job)
        for part in PARTS:
            if part not in parts:
                serializer.fields.pop(part)
        return Response(serializer.data)

    @extend_schema(operation_id="jobs_change", request=JobChange, responses={202: JobOutput}, tags=_TAG)
    def patch(self, request: Request, job_id: UUID) -> Response:
        """Change name, priority or deadline of a job that has not started."""
        job = _own(request, job_id)
        wish = body(JobChange, request)
        with verbs.as_problems():
            made = change_job(
                user=asker(request),
                job=job,
                name=wish.get("name"),
                priority=wish.get("priority"),
                deadline=wish.get("deadline"),
                clear_deadline="deadline" in wish and wish["deadline"] is None,
            )
        return verbs.when_applied(Response(shown_job(job), status=202), request, made, _again(request, job))


class CancelInput(StrictSerializer):
    """Why a job is cancelled."""

    reason = serializers.CharField(required=False, default="", allow_blank=True, max_length=1000)


class Cancel(ApiView):
    """Cancelling a job."""

    access = {"POST": _WRITE}
    problems = {"POST": (409,)}

    @extend_schema(operation_id="jobs_cancel", request=CancelInput, responses={202: JobOutput}, tags=_TAG)
    def post(self, request: Request, job_id: UUID) -> Response:
        """Cancel a job. What runs is aborted and cleaned up first; what was measured is kept."""
        job = _own(request, job_id)
        wish = body(CancelInput, request)
        with verbs.as_problems():
            answer = requests.cancel_job(asker(request), job, wish["reason"], wait_s=0)
        if answer.applied:
            return Response(shown_job(job), status=202)
        made = answer.request
        return verbs.when_applied(Response(shown_job(job), status=202), request, made, _again(request, job))


class Rerun(ApiView):
    """Doing a job again."""

    access = {"POST": _WRITE}
    problems = {"POST": (409, 422, 429, 503)}

    @extend_schema(
        operation_id="jobs_rerun",
        parameters=[_IDEMPOTENCY_KEY],
        request=None,
        responses={202: SubmittedOutput},
        tags=_TAG,
    )
    def post(self, request: Request, job_id: UUID) -> Response:
        """Submit a job once more, as a new job of yours that is linked to it."""
        old = get_object_or_404(_visible(request), pk=job_id)
        with verbs.as_problems():
            job, _ = submit_job(
                user=asker(request),
                document=old.spec,
                project=old.project,
                idempotency_key=_idempotency_key(request),
                rerun_of=old,
                by_agent=verbs.by_agent(request),
            )
        return _accepted(job)


class Logs(ApiView):
    """What happened to a job."""

    access = {"GET": _READ}

    @extend_schema(operation_id="jobs_logs", responses=EventOutput(many=True), tags=_TAG)
    def get(self, request: Request, job_id: UUID) -> Response:
        """List everything that happened to a job, in order."""
        job = get_object_or_404(_visible(request), pk=job_id)
        events = visible_events(asker(request)).filter(job=job).order_by("seq")[:5000]
        return Response(EventOutput(events, many=True).data)


_METRICS = inline_serializer(
    "JobMetrics",
    {
        "wait_s": serializers.FloatField(allow_null=True, help_text="Submit to start, lab seconds."),
        "run_s": serializers.FloatField(allow_null=True, help_text="Start to finish, lab seconds."),
        "flow_s": serializers.FloatField(allow_null=True, help_text="Submit to finish, lab seconds."),
        "device_s": serializers.DictField(child=serializers.FloatField(), help_text="Use of each device, lab seconds."),
        "steps_done": serializers.IntegerField(),
        "steps_total": serializers.IntegerField(),
        "attempts": serializers.IntegerField(),
    },
)


class Metrics(ApiView):
    """Figures of a job."""

    access = {"GET": _READ}

    @extend_schema(operation_id="jobs_metrics", responses=_METRICS, tags=_TAG)
    def get(self, request: Request, job_id: UUID) -> Response:
        """Show how long a job waited and ran, and how long it used each device."""
        return Response(metrics(get_object_or_404(_visible(request), pk=job_id)))


def metrics(job: Job) -> dict[str, Any]:
    """Return a job's figures; times that are not over yet are None (lab seconds)."""
    submitted, started, finished = job.submitted_lab_s, job.started_lab_s, job.finished_lab_s
    device_s: dict[str, float] = {}
    attempts = 0
    for step in job.steps.all():
        attempts += step.attempt if step.block == step.pk else 0
        if step.started_lab_s is None or step.ended_lab_s is None:
            continue
        for device in step.devices:
            device_s[device] = device_s.get(device, 0.0) + step.ended_lab_s - step.started_lab_s
    return {
        "wait_s": started - submitted if started is not None else None,
        "run_s": finished - started if started is not None and finished is not None else None,
        "flow_s": finished - submitted if finished is not None else None,
        "device_s": {device: round(used_s, 3) for device, used_s in sorted(device_s.items())},
        "steps_done": job.steps_done,
        "steps_total": job.steps_total,
        "attempts": attempts,
    }


class JobSchema(ApiView):
    """The job format."""

    access = {"GET": _READ}

    @extend_schema(operation_id="schemas_job", responses={200: OpenApiTypes.OBJECT}, tags=_TAG)
    def get(self, request: Request) -> Response:
        """Show the JSON Schema of a job."""
        return Response(_job_schema())


@cache
def _job_schema() -> Any:
    return JobDocument.model_json_schema(by_alias=True)


def _visible(request: Request) -> QuerySet[Job]:
    return Job.objects.visible_to(asker(request)).select_related("project", "owner")


def _own(request: Request, job_id: UUID) -> Job:
    job = get_object_or_404(_visible(request), pk=job_id)
    require(may_change(asker(request), job), "Only the job's owner or an admin of its project may do this.")
    return job


def _again(request: Request, job: Job) -> Callable[[], Any]:
    """Return what shows the job as it is later."""
    return lambda: shown_job(_visible(request).get(pk=job.pk))


def _document(request: Request) -> dict[str, Any] | str:
    """Return the job in the body: parsed JSON, or the text of a YAML document."""
    data = request.data
    if isinstance(data, YAMLText):
        return str(data)
    if not isinstance(data, dict):
        raise invalid(("", 'A job is a JSON object, or an object {"document": "…"} with its text as YAML.'))
    if set(data) == {"document"} and isinstance(data["document"], str):
        return str(data["document"])
    return data


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not 1 <= len(key) <= 200 or not all("!" <= char <= "~" for char in key):
        raise invalid(("Idempotency-Key", "A key has 1 to 200 visible ASCII characters and no space."))
    return key
