"""Approving jobs over REST."""

from __future__ import annotations

from uuid import UUID

from django.http import Http404
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from octolab.api.serializers import StrictSerializer, body
from octolab.api.views import ApiView, asker
from scheduler.models import Job
from scheduler.services import approval
from users.models import LabRole, Scope
from users.permissions import needs

from . import verbs
from .outputs import WishOutput

_OPERATOR = needs(Scope.DEVICES_CONTROL, lab_role=LabRole.Role.OPERATOR)


class WaitingOutput(serializers.ModelSerializer[Job]):
    """A job that waits for approval, as those see it who may approve it."""

    project = serializers.CharField(source="project.slug", read_only=True)
    owner = serializers.CharField(source="owner.username", read_only=True)
    reason = serializers.CharField(source="state_reason", read_only=True)
    spec = serializers.JSONField(read_only=True)

    class Meta:
        model = Job
        fields = ("id", "name", "project", "owner", "by_agent", "reason", "submitted_at", "samples_total", "spec")
        read_only_fields = fields


class Approvals(ApiView):
    """Jobs that wait for approval."""

    access = {"GET": _OPERATOR}

    @extend_schema(operation_id="approvals_list", responses=WaitingOutput(many=True), tags=["operators"])
    def get(self, request: Request) -> Response:
        """List the jobs that wait for your approval, oldest first. Operators of their modules."""
        return Response([WaitingOutput(job).data for job in approval.waiting_for(asker(request))[:200]])


class ApproveInput(StrictSerializer):
    """What the operator says about it."""

    note = serializers.CharField(required=False, allow_blank=True, default="", max_length=500)


class RejectInput(StrictSerializer):
    """Why not."""

    note = serializers.CharField(max_length=500, help_text="The owner is told.")


class Approve(ApiView):
    """Approving a job."""

    access = {"POST": _OPERATOR}
    problems = {"POST": (409,)}

    @extend_schema(operation_id="jobs_approve", request=ApproveInput, responses={202: WishOutput}, tags=["operators"])
    def post(self, request: Request, job_id: UUID) -> Response:
        """Let a job be planned. Operators of its modules; a token of an automatic agent never."""
        job = _waiting(request, job_id)
        wish = body(ApproveInput, request)
        with verbs.as_problems():
            return verbs.wished(request, approval.approve_job(asker(request), job, wish["note"], wait_s=0))


class Reject(ApiView):
    """Rejecting a job."""

    access = {"POST": _OPERATOR}
    problems = {"POST": (409,)}

    @extend_schema(operation_id="jobs_reject", request=RejectInput, responses={202: WishOutput}, tags=["operators"])
    def post(self, request: Request, job_id: UUID) -> Response:
        """Cancel a job that waits for approval. Operators of its modules."""
        job = _waiting(request, job_id)
        wish = body(RejectInput, request)
        with verbs.as_problems():
            return verbs.wished(request, approval.reject_job(asker(request), job, wish["note"], wait_s=0))


def _waiting(request: Request, job_id: UUID) -> Job:
    if verbs.by_agent(request):
        raise PermissionDenied("A token of an automatic agent approves nothing.")
    job = get_object_or_404(Job.objects.select_related("project"), pk=job_id)
    visible = Job.objects.visible_to(asker(request)).filter(pk=job.pk).exists()
    awaiting = job.state == "awaiting_approval" and approval.may_approve(asker(request), job)
    if not visible and not awaiting:
        raise Http404
    return job
