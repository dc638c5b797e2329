"""The routes of what administers people, below ``/api/v1/``."""

from __future__ import annotations

from django.urls import path

from .audit.api import Audit

urlpatterns = [
    path("audit", Audit.as_view()),
]
