"""Why a job stands where it does, over REST."""

from __future__ import annotations

from uuid import UUID

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from octolab.api.views import ApiView, asker
from scheduler.models import Job
from scheduler.services.standing import standing
from users.models import Scope
from users.permissions import needs


def _number(text: str) -> serializers.FloatField:
    return serializers.FloatField(allow_null=True, help_text=text)


_STANDING = inline_serializer(
    "Standing",
    {
        "waiting": serializers.BooleanField(help_text="Whether nothing of it has begun."),
        "jobs_before": serializers.IntegerField(
            allow_null=True, help_text="Jobs that have not begun and go before it."
        ),
        "weight": serializers.IntegerField(allow_null=True, help_text="As the planner uses it; 1024 is normal."),
        "priority": _number("Doublings of the weight."),
        "age": _number("Doublings of the weight."),
        "deadline": _number("Doublings of the weight."),
        "fair_share": _number("Doublings of the weight; 0 or below."),
        "user_recent_h": _number("Recent use of its user, hours of module time per share; use decays."),
        "project_recent_h": _number("Recent use of its project, hours of module time per share."),
        "project_ahead_h": _number("Work of its project under way or before it, hours of module time per share."),
        "half_life_h": _number("After so many hours of lab time, use counts half."),
        "as_of_lab_s": _number("When the plan was made, lab seconds."),
        "share": serializers.FloatField(help_text="Its project's part of the lab, in proportion to the others'."),
        "reasons": serializers.ListField(child=serializers.CharField()),
    },
)


class Standing(ApiView):
    """Why a job stands where it does."""

    access = {"GET": needs(Scope.JOBS_READ)}

    @extend_schema(operation_id="jobs_standing", responses=_STANDING, tags=["jobs"])
    def get(self, request: Request, job_id: UUID) -> Response:
        """Show why a job stands where it does in the plan: the parts of its weight, in numbers and words."""
        jobs = Job.objects.visible_to(asker(request)).select_related("project")
        return Response(standing(get_object_or_404(jobs, pk=job_id)))
