"""The routes of ``/api/v1``."""

from __future__ import annotations

from django.urls import include, path

from .system import Live, Metrics, OpenApi, Ready

urlpatterns = [
    path("openapi.json", OpenApi.as_view()),
    path("health", Ready.as_view()),
    path("health/live", Live.as_view()),
    path("metrics", Metrics.as_view()),
    path("", include("users.api")),
    path("", include("users.routes")),
    path("", include("scheduler.api.urls")),
    path("", include("analysis.urls")),
    path("", include("notifications.urls")),
]
