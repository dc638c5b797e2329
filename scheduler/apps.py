"""The scheduler app."""

from __future__ import annotations

from django.apps import AppConfig


class SchedulerConfig(AppConfig):
    """See the package's docstring."""

    name = "scheduler"
