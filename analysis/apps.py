"""The analysis app."""

from __future__ import annotations

from django.apps import AppConfig


class AnalysisConfig(AppConfig):
    """See the package's docstring."""

    name = "analysis"
