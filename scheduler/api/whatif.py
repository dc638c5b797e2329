"""What if, over REST."""

from __future__ import annotations

import asyncio
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from octolab.api.errors import Problem, invalid
from octolab.api.serializers import StrictSerializer, body
from octolab.api.views import ApiView, asker
from octolab.later import Better, InThread, improve
from scheduler.services import whatif
from scheduler.services.jobs import check_job
from users.models import Scope
from users.permissions import needs

from . import verbs
from .outputs import MomentField

MOST = 20


class GainInput(StrictSerializer):
    """A further device."""

    id = serializers.SlugField(max_length=64, help_text="What it is called in the answer.")
    like = serializers.SlugField(max_length=64, help_text="The device whose work it could do as well.")


class OutageInput(StrictSerializer):
    """A time at which a device cannot be used."""

    device = serializers.SlugField(max_length=64)
    start_lab_s = serializers.FloatField(min_value=0, max_value=1e12)
    end_lab_s = serializers.FloatField(min_value=0, max_value=1e12, required=False, allow_null=True, default=None)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Require an end behind the start."""
        if attrs["end_lab_s"] is not None and attrs["end_lab_s"] <= attrs["start_lab_s"]:
            raise serializers.ValidationError({"end_lab_s": ["The end must be behind the start; null for no end."]})
        return attrs


class WhatIfInput(StrictSerializer):
    """What would be otherwise."""

    job = serializers.JSONField(
        required=False, help_text="A job that would be submitted now (`/schemas/job`), or its text as YAML."
    )
    lose = serializers.ListField(
        child=serializers.CharField(max_length=64), required=False, max_length=MOST, default=list
    )
    gain = serializers.ListField(child=GainInput(), required=False, max_length=MOST, default=list)
    maintenance = serializers.ListField(child=OutageInput(), required=False, max_length=MOST, default=list)


class ChangedJobOutput(serializers.Serializer[Any]):
    """A job of yours that would finish at another time."""

    job = serializers.UUIDField()
    name = serializers.CharField()
    finish_before = MomentField("finish_before_lab_s")
    finish = MomentField("finish_lab_s")
    shift_s = serializers.FloatField(allow_null=True, help_text="Lab seconds; null if it could not be done.")
    reason = serializers.CharField(help_text="Why it could not be done, if so.")


class NewJobOutput(serializers.Serializer[Any]):
    """Where the job of the question would stand."""

    start = MomentField("start_lab_s")
    finish = MomentField("finish_lab_s")
    reason = serializers.CharField()


class WhatIfOutput(serializers.Serializer[Any]):
    """What would change. Sums are of all jobs, yours and others', in lab seconds."""

    answered = serializers.BooleanField(help_text="False if the scheduler did not answer in time.")
    sentence = serializers.CharField()
    jobs = ChangedJobOutput(many=True)
    new_job = NewJobOutput(allow_null=True)
    other_jobs_changed = serializers.IntegerField(required=False)
    makespan_before_s = serializers.FloatField(required=False, help_text="From now until all is done.")
    makespan_s = serializers.FloatField(required=False)
    flow_before_s = serializers.FloatField(required=False, help_text="Sum of all jobs' times from submit to finish.")
    flow_s = serializers.FloatField(required=False, help_text="The same jobs', without the new one.")
    steps_moved = serializers.IntegerField(required=False)


class WhatIf(ApiView):
    """What if."""

    access = {"POST": needs(Scope.JOBS_WRITE)}
    problems = {"POST": (503,)}

    @extend_schema(operation_id="plan_what_if", request=WhatIfInput, responses=WhatIfOutput, tags=["lab"])
    def post(self, request: Request) -> Response:
        """Plan the live queue with another job, without a device, with a further one, or around a maintenance.

        Nothing is kept.
        """
        user, wish = asker(request), body(WhatIfInput, request)
        if not any(wish.get(name) for name in ("job", "lose", "gain", "maintenance")):
            raise invalid(("", "Say what would be otherwise: `job`, `lose`, `gain` or `maintenance`."))
        checked = None
        if wish.get("job"):
            if not isinstance(wish["job"], dict | str):
                raise invalid(("/job", "A job is a JSON object, or a text as YAML."))
            try:
                with verbs.as_problems():
                    checked = check_job(user=user, document=wish["job"])
            except Problem as problem:
                problem.errors = [{**error, "path": f"/job{error['path']}"} for error in problem.errors]
                raise
        try:
            prepared = whatif.prepare(checked, wish["lose"], wish["gain"], wish["maintenance"])
        except whatif.ImpossibleQuestionError as error:
            raise invalid((error.path, str(error))) from error

        async def wait(in_thread: InThread) -> Better | None:
            # It blocks, but needs no database: any thread will do, and no database thread waits.
            said = await asyncio.to_thread(whatif.ask_scheduler, prepared)
            return Better(
                await in_thread(lambda: JSONRenderer().render(WhatIfOutput(whatif.shown(user, prepared, said)).data))
            )

        return improve(Response(WhatIfOutput(whatif.shown(user, prepared, None)).data), wait)
