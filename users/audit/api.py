"""The audit log over REST, for lab admins."""

from __future__ import annotations

import json
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from octolab.api.pagination import DEFAULT_LIMIT, MAX_LIMIT
from octolab.api.serializers import MAX_INTEGER, StrictSerializer, query
from octolab.api.views import ApiView
from users.models import LabRole, Scope
from users.permissions import needs

from .models import AuditEntry
from .search import Wanted, search


class AuditQuery(StrictSerializer):
    """What to look for."""

    actor = serializers.CharField(required=False, max_length=150, help_text="User name.")
    verb = serializers.CharField(required=False, max_length=60, help_text="A verb or its beginning, such as `token`.")
    subject = serializers.CharField(required=False, max_length=200, help_text="Id or name of what it was done to.")
    project = serializers.SlugField(required=False, max_length=64)
    text = serializers.CharField(required=False, max_length=100, help_text="Part of subject or detail.")
    since = serializers.DateTimeField(required=False)
    until = serializers.DateTimeField(required=False)
    before = serializers.IntegerField(required=False, min_value=1, max_value=MAX_INTEGER, help_text="Older than this.")
    limit = serializers.IntegerField(required=False, min_value=1, max_value=MAX_LIMIT, default=DEFAULT_LIMIT)


class AuditOutput(serializers.ModelSerializer[AuditEntry]):
    """An entry of the audit log."""

    detail = serializers.SerializerMethodField()

    class Meta:
        model = AuditEntry
        fields = ("seq", "at", "actor", "credential", "address", "verb", "subject", "project", "detail", "hash")
        read_only_fields = fields

    def get_detail(self, entry: AuditEntry) -> dict[str, Any]:
        """Return what else is known."""
        return dict(json.loads(entry.detail)) if entry.detail else {}


class Audit(ApiView):
    """The audit log."""

    access = {"GET": needs(Scope.ADMIN, lab_role=LabRole.Role.ADMIN)}

    @extend_schema(operation_id="audit_list", parameters=[AuditQuery], responses=AuditOutput(many=True), tags=["admin"])
    def get(self, request: Request) -> Response:
        """Search the audit log, newest first. Lab admins."""
        wish = query(AuditQuery, request)
        before, limit = wish.pop("before", None), wish.pop("limit")
        found = search(Wanted(**wish))
        if before is not None:
            found = found.filter(seq__lt=before)
        return Response(AuditOutput(found[:limit], many=True).data)
