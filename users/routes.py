"""The routes of what administers people, below ``/api/v1/``."""

from __future__ import annotations

from django.urls import path

from .audit.api import Audit
from .policies.api import ProjectRules

urlpatterns = [
    path("audit", Audit.as_view()),
    path("projects/<slug:slug>/rules", ProjectRules.as_view()),
]
