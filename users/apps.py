"""The users app."""

from __future__ import annotations

from django.apps import AppConfig


class UsersConfig(AppConfig):
    """Accounts, tokens, projects and roles."""

    name = "users"

    def ready(self) -> None:
        """Have log-ins noted."""
        from .audit import signals  # noqa: F401
