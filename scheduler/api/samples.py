"""Samples over REST."""

from __future__ import annotations

from itertools import islice
from typing import Any
from uuid import UUID

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from octolab.api.serializers import StrictSerializer, query
from octolab.api.views import ApiView, asker
from scheduler.models import Job, Sample
from scheduler.services import requests, whereabouts
from users.models import Scope
from users.permissions import needs

from . import verbs
from .outputs import MomentField, SampleOutput, WishOutput

_TAG = ["samples"]


class HistoryOutput(serializers.Serializer[Any]):
    """One step of a sample's life."""

    step = serializers.UUIDField(source="step.id")
    name = serializers.CharField(source="step.name")
    module = serializers.CharField(source="step.module")
    task = serializers.CharField(source="step.task_name")
    state = serializers.CharField(source="step.state")
    started = MomentField("step.started_lab_s")
    ended = MomentField("step.ended_lab_s")
    devices = serializers.DictField(source="step.devices", child=serializers.CharField())
    attempt = serializers.IntegerField(source="step.attempt")
    run_uid = serializers.UUIDField(allow_null=True)
    ok = serializers.BooleanField(allow_null=True)
    error = serializers.CharField()


class StayOutput(serializers.Serializer[Any]):
    """A stretch of time in which a sample held a place."""

    place = serializers.CharField()
    since = MomentField("since_lab_s")
    until = MomentField("until_lab_s")
    step = serializers.UUIDField(source="step.id", allow_null=True, default=None)


class SampleDetailOutput(SampleOutput):
    """A sample with its history."""

    job = serializers.UUIDField(source="job_id", read_only=True)
    stands = serializers.CharField(read_only=True, help_text="Where it stands now; empty if nowhere.")
    path = StayOutput(many=True, read_only=True)
    history = HistoryOutput(many=True, read_only=True)

    class Meta(SampleOutput.Meta):
        fields = (*SampleOutput.Meta.fields, "job", "stands", "path", "history")
        read_only_fields = fields


class SamplesQuery(StrictSerializer):
    """Which samples."""

    lot = serializers.CharField(required=False, max_length=100, help_text="Of something that went into it.")
    stock = serializers.CharField(required=False, max_length=64)
    solution = serializers.CharField(required=False, max_length=100)
    job = serializers.UUIDField(required=False)
    limit = serializers.IntegerField(required=False, default=100, min_value=1, max_value=500)


class FoundOutput(SampleOutput):
    """A sample that was found."""

    class Meta(SampleOutput.Meta):
        fields = (*SampleOutput.Meta.fields, "job")
        read_only_fields = fields


class Samples(ApiView):
    """Samples."""

    access = {"GET": needs(Scope.JOBS_READ)}

    @extend_schema(operation_id="samples_list", parameters=[SamplesQuery], responses=FoundOutput(many=True), tags=_TAG)
    def get(self, request: Request) -> Response:
        """Find samples of your projects, newest first: of a job, or by lot, stock or solution that went into them."""
        wish = query(SamplesQuery, request)
        samples = _visible(request).order_by("-id")
        if "job" in wish:
            samples = samples.filter(job=wish["job"])
        wanted: dict[str, str] = {str(name): wish[name] for name in ("lot", "stock", "solution") if name in wish}
        found = whereabouts.holding(samples, wanted) if wanted else samples
        return Response(FoundOutput(list(islice(found, wish["limit"])), many=True).data)


class SampleDetail(ApiView):
    """One sample."""

    access = {"GET": needs(Scope.JOBS_READ)}

    @extend_schema(operation_id="samples_get", responses=SampleDetailOutput, tags=_TAG)
    def get(self, request: Request, sample_id: UUID) -> Response:
        """Show a sample: where it comes from, where it is and was, what went into it, and what was done to it."""
        sample = get_object_or_404(_visible(request).select_related("job"), pk=sample_id)
        sample.history = whereabouts.history_of(sample)
        sample.path = whereabouts.path_of(sample)
        sample.stands = whereabouts.stands(sample.path)
        return Response(SampleDetailOutput(sample).data)


class Collect(ApiView):
    """Taking a sample away."""

    access = {"POST": needs(Scope.JOBS_WRITE)}
    problems = {"POST": (409,)}

    @extend_schema(operation_id="samples_collect", request=None, responses={202: WishOutput}, tags=_TAG)
    def post(self, request: Request, sample_id: UUID) -> Response:
        """Tell that a stored sample was taken away: its place is free for others then."""
        user = asker(request)
        samples = Sample.objects.all() if user.operates() else _visible(request)
        sample = get_object_or_404(samples.select_related("job__project"), pk=sample_id)
        with verbs.as_problems():
            answer = requests.collect(user, sample, wait_s=0)
        return verbs.wished(request, answer)


def _visible(request: Request) -> Any:
    jobs = Job.objects.visible_to(asker(request))
    return Sample.objects.filter(job__in=jobs).prefetch_related("places")
