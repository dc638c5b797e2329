"""The octolab app."""

from __future__ import annotations

from django.apps import AppConfig


class OctolabConfig(AppConfig):
    """See the package's docstring."""

    name = "octolab"
