"""The routes of predictions and of questions to the plan, below ``/api/v1/``."""

from __future__ import annotations

from django.urls import path

from . import lab, predictions, whatif, why

planning_urls = [
    path("jobs/<uuid:job_id>/why", why.Why.as_view()),
    path("plan/versions", lab.PlanVersions.as_view()),
    path("plan/what-if", whatif.WhatIf.as_view()),
    path("metrics/predictions", predictions.PredictionMetrics.as_view()),
]
