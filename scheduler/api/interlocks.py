"""Interlocks over REST: what is declared, what is tripped, and who has seen it."""

from __future__ import annotations

from typing import Any

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from octolab.api.serializers import StrictSerializer, body
from octolab.api.views import ApiView, asker
from scheduler.services import interlocks
from users.models import LabRole, Scope
from users.permissions import needs

from . import verbs
from .outputs import WishOutput

_TAG = ["operators"]


class InterlockOutput(serializers.Serializer[Any]):
    """An interlock of the lab file, as it is now."""

    id = serializers.CharField()
    title = serializers.CharField()
    reading = serializers.CharField()
    rule = serializers.CharField()
    trip = serializers.JSONField()
    clear = serializers.JSONField(allow_null=True)
    dwell_s = serializers.FloatField()
    covers = serializers.ListField(child=serializers.CharField())
    does = serializers.CharField()
    tripped = serializers.BooleanField()
    value = serializers.JSONField(allow_null=True, help_text="The reading at the last trip or clear.")
    since_at = serializers.DateTimeField(allow_null=True)
    acknowledged_by = serializers.CharField()
    acknowledged_at = serializers.DateTimeField(allow_null=True)


class AcknowledgeInput(StrictSerializer):
    """What was done about it."""

    note = serializers.CharField(default="", allow_blank=True, max_length=2000)


class Interlocks(ApiView):
    """Interlocks."""

    access = {"GET": needs(Scope.DEVICES_READ)}

    @extend_schema(operation_id="interlocks_list", responses=InterlockOutput(many=True), tags=_TAG)
    def get(self, request: Request) -> Response:
        """List the interlocks that the lab file declares, with their states."""
        return Response(InterlockOutput(interlocks.listed(), many=True).data)


class Acknowledge(ApiView):
    """Acknowledging an interlock."""

    access = {"POST": needs(Scope.DEVICES_CONTROL, lab_role=LabRole.Role.OPERATOR)}
    problems = {"POST": (409,)}

    @extend_schema(
        operation_id="interlocks_acknowledge", request=AcknowledgeInput, responses={202: WishOutput}, tags=_TAG
    )
    def post(self, request: Request, interlock_id: str) -> Response:
        """Say by name that you have seen an interlock's trip. It does not clear it: its reading does."""
        if interlock_id not in {row["id"] for row in interlocks.listed()}:
            raise Http404
        with verbs.as_problems():
            answer = interlocks.acknowledge(
                asker(request), interlock_id, body(AcknowledgeInput, request)["note"], wait_s=0
            )
        return verbs.wished(request, answer)
