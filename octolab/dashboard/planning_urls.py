"""URLs of the pages about predictions and the plan."""

from __future__ import annotations

from django.urls import path

from . import predictions, whatif

planning_urls = [
    path("what-if", whatif.what_if, name="what-if"),
    path("predictions", predictions.predictions, name="predictions"),
]
