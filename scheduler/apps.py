"""The scheduler app."""

from __future__ import annotations

from django.apps import AppConfig


class SchedulerConfig(AppConfig):
    """See the package's docstring."""

    name = "scheduler"

    def ready(self) -> None:
        """Have every wish noted in the audit log, whichever service writes it down."""
        from .services import audited  # noqa: F401
