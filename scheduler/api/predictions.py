"""How good predictions have been, over REST."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from octolab.api.views import ApiView
from scheduler.services.predictions import figures
from users.models import Scope
from users.permissions import needs


class ScoreOutput(serializers.Serializer[Any]):
    """How well predictions of one kind have held."""

    number = serializers.IntegerField(help_text="How many predictions have come to be judged.")
    coverage = serializers.FloatField(
        allow_null=True, help_text="Share that happened within the 80 % range; null if there are none."
    )
    bias_s = serializers.FloatField(allow_null=True, help_text="Mean of real minus predicted, lab seconds.")
    median_abs_error_s = serializers.FloatField(allow_null=True, help_text="Lab seconds.")


class PredictedJobsOutput(serializers.Serializer[Any]):
    """Start and finish of jobs, as they were told when the jobs came."""

    start = ScoreOutput()
    finish = ScoreOutput()


class PredictionsOutput(serializers.Serializer[Any]):
    """How well predictions have held."""

    jobs = PredictedJobsOutput()
    task_durations = ScoreOutput()
    tasks = serializers.DictField(child=ScoreOutput(), help_text="Durations of steps by `module.task`.")


class PredictionMetrics(ApiView):
    """How good predictions have been."""

    access = {"GET": needs(Scope.JOBS_READ)}

    @extend_schema(operation_id="metrics_predictions", responses=PredictionsOutput, tags=["lab"])
    def get(self, request: Request) -> Response:
        """Show how often predicted 80 % ranges have held: jobs as told at submit, and durations by module and task."""
        return Response(figures())
