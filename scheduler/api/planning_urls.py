"""The routes of predictions and of questions to the plan, below ``/api/v1/``."""

from __future__ import annotations

from django.urls import path

from . import predictions

planning_urls = [
    path("metrics/predictions", predictions.PredictionMetrics.as_view()),
]
