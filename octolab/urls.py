"""The URL map: the REST API under ``/api/v1``, the dashboard at the root."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

from octolab.api.system import Index

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/v1", Index.as_view()),
    path("api/v1/", include("octolab.api.urls")),
    path("", include("octolab.dashboard.urls")),
]
