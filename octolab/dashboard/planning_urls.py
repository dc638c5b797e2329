"""URLs of the pages about predictions and the plan."""

from __future__ import annotations

from django.urls import path

from . import predictions

planning_urls = [
    path("predictions", predictions.predictions, name="predictions"),
]
