"""Why a job waits, over REST."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from octolab.api.serializers import StrictSerializer, query
from octolab.api.views import ApiView, asker
from octolab.later import Better, InThread, improve
from scheduler.models import Job, Step
from scheduler.services import why
from users.models import Scope
from users.permissions import needs

from .outputs import MomentField


class WhyQuery(StrictSerializer):
    """Which step."""

    step = serializers.UUIDField(required=False, help_text="A step of the job; without it, the next one that waits.")


class HolderOutput(serializers.Serializer[Any]):
    """A job that has what is waited for."""

    job = serializers.CharField(help_text="Its id; empty if you may only know its name.")
    name = serializers.CharField()


class RemedyOutput(serializers.Serializer[Any]):
    """A change that would help, found by planning with it."""

    change = serializers.CharField()
    start = MomentField("start_lab_s")
    gain_s = serializers.FloatField(help_text="So much earlier, lab seconds.")
    cost_s = serializers.FloatField(help_text="By how much others would finish later, all together, lab seconds.")


class WhyOutput(serializers.Serializer[Any]):
    """What a job or a step waits for."""

    waits = serializers.BooleanField()
    reason = serializers.CharField(help_text="In one word; reasons that are no matter of the plan come first.")
    sentence = serializers.CharField()
    step = serializers.CharField(help_text="Id of the step; empty if the whole job waits.")
    step_name = serializers.CharField()
    thing = serializers.CharField(help_text="The device, place, stock or module that is waited for.")
    busy = serializers.BooleanField(help_text="Whether another job has it.")
    holder = HolderOutput(allow_null=True, help_text="That job, if you may know.")
    start = MomentField("start_lab_s")
    until = MomentField("until_lab_s")
    remedies = RemedyOutput(many=True, help_text="The cheapest first.")


class Why(ApiView):
    """Why a job waits."""

    access = {"GET": needs(Scope.JOBS_READ)}

    @extend_schema(operation_id="jobs_why", parameters=[WhyQuery], responses=WhyOutput, tags=["jobs"])
    def get(self, request: Request, job_id: UUID) -> Response:
        """Say why a job, or a step of it, waits: what has what it needs, until when, and what would help."""
        user = asker(request)
        job = get_object_or_404(Job.objects.visible_to(user).defer("spec"), pk=job_id)
        step_id = query(WhyQuery, request).get("step")
        if step_id is not None:
            get_object_or_404(Step, pk=step_id, job=job)
        known = why.at_once(job)
        response = Response(WhyOutput(known or why.explained(user, job, None)).data)
        if known is not None:
            return response

        async def wait(in_thread: InThread) -> Better | None:
            # It blocks, but needs no database: any thread will do, and no database thread waits.
            said = await asyncio.to_thread(why.ask_scheduler, job.pk, step_id)
            return Better(await in_thread(lambda: _shown(why.explained(user, job, said))))

        return improve(response, wait)


def _shown(found: why.Why) -> bytes:
    return JSONRenderer().render(WhyOutput(found).data)
