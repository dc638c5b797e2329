"""The operators' routes: what needs a person, and the person's decision."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import Http404
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from octolab.api.serializers import StrictSerializer, body
from octolab.api.views import ApiView, asker
from scheduler import catalogue
from scheduler.models import Device, Place, Step
from scheduler.services import requests
from scheduler.services.overdue import overdue_steps
from scheduler.services.stranded import stranded_samples
from users.models import LabRole, Scope
from users.permissions import needs

from . import verbs
from .lab import DeviceOutput
from .outputs import MomentField, WishOutput

_TAG = ["operators"]
_OPERATOR = needs(Scope.DEVICES_CONTROL, lab_role=LabRole.Role.OPERATOR)


class InterruptedOutput(serializers.ModelSerializer[Step]):
    """An interrupted step that waits for a decision."""

    job = serializers.UUIDField(source="job_id", read_only=True)
    job_name = serializers.CharField(source="job.name", read_only=True)
    owner = serializers.CharField(source="job.owner.username", read_only=True)
    started = MomentField("started_lab_s")
    blocked_devices = serializers.SerializerMethodField()
    together = serializers.SerializerMethodField(
        help_text="Names of the steps that were one order with it, itself the first: one decision is about them all."
    )

    class Meta:
        model = Step
        fields = (
            *("id", "job", "job_name", "owner", "module", "task_name", "name", "attempt", "reason", "started"),
            *("devices", "blocked_devices", "together"),
        )
        read_only_fields = fields

    def get_together(self, step: Step) -> list[str]:
        """Return the names of all steps of its order."""
        names: list[str] = self.context.get("together", {}).get(step.pk, [step.name])
        return names

    def get_blocked_devices(self, step: Step) -> list[str]:
        """Return the devices that stand still until somebody decides."""
        attempt = f"{step.block}/{step.attempt}"
        return list(Device.objects.filter(attempt_id=attempt).order_by("id").values_list("id", flat=True))


class StrandedOutput(serializers.ModelSerializer[Place]):
    """A lost sample that stands where others have to work."""

    name = serializers.SerializerMethodField(help_text="What the lab calls the place: `vial_holder.1`.")
    sample = serializers.UUIDField(source="sample_id", read_only=True)
    sample_name = serializers.CharField(source="sample.name", read_only=True)
    job = serializers.UUIDField(source="sample.job_id", read_only=True)
    job_name = serializers.CharField(source="sample.job.name", read_only=True)
    owner = serializers.CharField(source="sample.job.owner.username", read_only=True)
    since = MomentField("since_lab_s")

    class Meta:
        model = Place
        fields = ("name", "sample", "sample_name", "job", "job_name", "owner", "since")
        read_only_fields = fields

    def get_name(self, place: Place) -> str:
        """Return the name of the place."""
        return catalogue.current().place_name(place.resource, place.index)


class AttentionOutput(serializers.Serializer[Any]):
    """What needs an operator."""

    steps = InterruptedOutput(many=True)
    late = InterruptedOutput(many=True, help_text="Steps that would start too late, where the job says *ask*.")
    overdue = InterruptedOutput(many=True, help_text="Steps that run far longer than expected: look at them.")
    stranded = StrandedOutput(many=True, help_text="Samples to be taken out by hand; then tell it by *collect*.")
    devices = DeviceOutput(many=True)


class Attention(ApiView):
    """What needs an operator."""

    access = {"GET": _OPERATOR}

    @extend_schema(operation_id="operator_attention", responses=AttentionOutput, tags=_TAG)
    def get(self, request: Request) -> Response:
        """List what waits for an operator: interrupted steps, blocked devices, samples to be taken out by hand."""
        user = asker(request)
        orders = [steps for steps in requests.interrupted_orders() if user.operates(steps[0].module)]
        devices = Device.objects.filter(state__in=("unknown", "error", "estopped")).order_by("id")
        return Response(
            AttentionOutput(
                {
                    "steps": [steps[0] for steps in orders],
                    "late": [step for step in requests.late_steps() if user.operates(step.module)],
                    "overdue": [step for step in overdue_steps() if user.operates(step.module)],
                    "stranded": stranded_samples(),
                    "devices": [device for device in devices if any(map(user.operates, device.modules))],
                },
                context={"together": {steps[0].pk: [step.name for step in steps] for steps in orders}},
            ).data
        )


class DecideInput(StrictSerializer):
    """An operator's decision about an interrupted step."""

    decision = serializers.ChoiceField(
        ["done", "failed", "repeat", *requests.BREACHED],
        help_text="Interrupted: *done*: it was done in full; *failed*: give the sample up; *repeat*: do it again. "
        "Would start too late: *continue* all the same, *skip* the sample, *abort* the job.",
    )
    note = serializers.CharField(max_length=2000, help_text="What you saw at the bench; kept for ever.")


class Decide(ApiView):
    """Deciding on an interrupted step."""

    access = {"POST": _OPERATOR}
    problems = {"POST": (409,)}

    @extend_schema(operation_id="steps_decide", request=DecideInput, responses={202: WishOutput}, tags=_TAG)
    def post(self, request: Request, step_id: UUID) -> Response:
        """Decide what an interrupted step was, or what becomes of one that would start too late.

        Operators of its module.
        """
        step = get_object_or_404(Step.objects.select_related("job"), pk=step_id)
        if not asker(request).operates(step.module):
            raise Http404
        wish = body(DecideInput, request)
        with verbs.as_problems():
            answer = requests.decide(asker(request), step, wish["decision"], wish["note"], wait_s=0)
        return verbs.wished(request, answer)
