"""The server itself: its schema, its health, its metrics."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.db import connection
from django.http import HttpResponse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import OpenApiTypes, extend_schema, inline_serializer
from prometheus_client import REGISTRY, CollectorRegistry, Gauge, generate_latest
from rest_framework import serializers
from rest_framework.exceptions import NotAuthenticated, PermissionDenied
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from modules.contract.lab import LabFileError
from octolab.addresses import is_local
from scheduler import catalogue
from users.models import Scope
from users.permissions import PUBLIC, has_scope

from .views import ApiView

_LINKS = {
    "openapi": "openapi.json",
    "job_schema": "schemas/job",
    "health": "health",
    "jobs": "jobs",
    "preview": "jobs/preview",
    "samples": "samples",
    "modules": "modules",
    "devices": "devices",
    "plan": "plan",
    "stocks": "stocks",
    "storage": "storage",
    "events": "events",
    "tokens": "tokens",
    "me": "me",
}


class Index(ApiView):
    """Where to begin."""

    access = {"GET": PUBLIC}
    authentication_classes = ()

    @extend_schema(
        operation_id="index",
        responses=inline_serializer(
            "Index",
            {
                "name": serializers.CharField(),
                "links": serializers.DictField(child=serializers.CharField(), help_text="Name: address."),
            },
        ),
        tags=["server"],
    )
    def get(self, request: Request) -> Response:
        """Show where things are. The OpenAPI document has every address."""
        links = {name: f"/api/v1/{path}" for name, path in _LINKS.items()}
        return Response({"name": "octolab", "links": links}, headers={"Cache-Control": "max-age=300"})


class OpenApi(ApiView):
    """This document."""

    access = {"GET": PUBLIC}
    authentication_classes = ()

    @extend_schema(operation_id="openapi", responses={200: OpenApiTypes.OBJECT}, tags=["server"])
    def get(self, request: Request) -> Response:
        """Describe the API as OpenAPI 3.1."""
        return Response(openapi_document(), headers={"Cache-Control": "max-age=300"})


@cache
def openapi_document() -> dict[str, Any]:
    """Return the OpenAPI document. It is the same as long as the process lives."""
    return dict(SchemaGenerator().get_schema(request=None, public=True))


class Live(ApiView):
    """Whether the process answers."""

    access = {"GET": PUBLIC}
    authentication_classes = ()

    @extend_schema(
        operation_id="health_live",
        responses={200: inline_serializer("Live", {"status": serializers.ChoiceField(["live"])})},
        tags=["server"],
    )
    def get(self, request: Request) -> Response:
        """Tell that the web process answers; touches no store."""
        return Response({"status": "live"})


class Ready(ApiView):
    """Whether requests can be served."""

    access = {"GET": PUBLIC}
    authentication_classes = ()

    @extend_schema(
        operation_id="health",
        responses={
            (status, "application/json"): inline_serializer(
                f"Ready{status}",
                {
                    "status": serializers.ChoiceField(["ready" if status == 200 else "unready"]),
                    "database": serializers.BooleanField(),
                    "modules": serializers.BooleanField(
                        help_text="Whether every module of the lab has told what it offers."
                    ),
                },
            )
            for status in (200, 503)
        },
        tags=["server"],
    )
    def get(self, request: Request) -> Response:
        """Tell whether the database answers, and whether all tasks are known; 503 if jobs cannot be accepted."""
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            database = True
        except Exception:  # whatever the reason is, it is the log's and not the asker's
            database = False
        try:
            modules = database and catalogue.current().complete
        except LabFileError:
            modules = False
        return Response(
            {"status": "ready" if database else "unready", "database": database, "modules": modules},
            status=200 if database else 503,
        )


class PlainRenderer(BaseRenderer):
    """Plain text, for Prometheus."""

    media_type = "text/plain"
    format = "txt"
    charset = "utf-8"

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        """Return the text."""
        return data if isinstance(data, bytes) else str(data).encode()


class _AlwaysPlain(BaseContentNegotiation):
    """Prometheus asks for formats of its own and takes plain text."""

    def select_parser(self, request: Any, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, request: Any, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


class Metrics(ApiView):
    """Figures for Prometheus."""

    access = {"GET": PUBLIC}
    problems = {"GET": (401, 403)}
    renderer_classes = (PlainRenderer, JSONRenderer)
    content_negotiation_class = _AlwaysPlain

    @extend_schema(operation_id="metrics", responses={(200, "text/plain"): OpenApiTypes.STR}, tags=["server"])
    def get(self, request: Request) -> HttpResponse:
        """Show the figures, to a token with scope `admin` or to who asks on this machine. They hold no names."""
        if not is_local(request._request):
            if not request.user.is_authenticated:
                raise NotAuthenticated("Send a token as 'Authorization: Bearer …'.")
            if not (has_scope(request, Scope.ADMIN) and request.user.is_lab_admin):
                raise PermissionDenied("Figures are shown to a lab admin's token with the scope 'admin'.")
        return HttpResponse(
            generate_latest(REGISTRY) + generate_latest(_counts()), content_type="text/plain; version=0.0.4"
        )


def _counts() -> CollectorRegistry:
    from scheduler.counts import job_states, step_states

    registry = CollectorRegistry()
    for name, counts in (("jobs", job_states()), ("steps", step_states())):
        gauge = Gauge(f"octolab_{name}", f"{name.capitalize()} by state", ["state"], registry=registry)
        for state, number in counts.items():
            gauge.labels(state).set(number)
    return registry
