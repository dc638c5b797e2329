"""Maintenance locks, quarantine, and running a task by hand, over REST."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import Http404
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from octolab.api.errors import invalid
from octolab.api.serializers import StrictSerializer, body
from octolab.api.views import ApiView, asker
from scheduler.models import Device, MaintenanceLock, Module
from scheduler.services import maintenance
from users.models import LabRole, Scope
from users.permissions import needs

from . import verbs
from .outputs import JobOutput, WishOutput, shown_job

_TAG = ["operators"]
_OPERATOR = needs(Scope.DEVICES_CONTROL, lab_role=LabRole.Role.OPERATOR)


class LockOutput(serializers.ModelSerializer[MaintenanceLock]):
    """A maintenance lock."""

    holder = serializers.CharField(source="holder.username", read_only=True)

    class Meta:
        model = MaintenanceLock
        fields = ("id", "kind", "target", "holder", "reason", "since_at", "expires_at")
        read_only_fields = fields


class LockInput(StrictSerializer):
    """What is to be locked, and why."""

    kind = serializers.ChoiceField(["device", "module"], default="device")
    target = serializers.SlugField(max_length=64, help_text="Id of the device or module.")
    reason = serializers.CharField(max_length=1000)
    expires_at = serializers.DateTimeField(default=None, allow_null=True, help_text="When it ends by itself.")


class NoteInput(StrictSerializer):
    """What was seen."""

    note = serializers.CharField(default="", allow_blank=True, max_length=2000)


class SeenInput(StrictSerializer):
    """What was seen at the bench."""

    note = serializers.CharField(max_length=2000, help_text="What you saw; kept for ever.")


class Locks(ApiView):
    """Maintenance locks."""

    access = {"GET": needs(Scope.DEVICES_READ), "POST": _OPERATOR}
    problems = {"POST": (409,)}

    @extend_schema(operation_id="maintenance_list", responses=LockOutput(many=True), tags=_TAG)
    def get(self, request: Request) -> Response:
        """List the maintenance locks that are in force."""
        locks = MaintenanceLock.objects.filter(released_at=None).select_related("holder").order_by("id")
        return Response(LockOutput(locks, many=True).data)

    @extend_schema(operation_id="maintenance_lock", request=LockInput, responses={202: WishOutput}, tags=_TAG)
    def post(self, request: Request) -> Response:
        """Lock a device or a module: nobody else's steps start there. What runs is not disturbed. Its operators."""
        wish = body(LockInput, request)
        model: Any = Device if wish["kind"] == "device" else Module
        target = model.objects.filter(pk=wish["target"]).first()
        if target is None:
            raise invalid(("/target", f"There is no {wish['kind']} of this id. GET /{wish['kind']}s lists them."))
        with verbs.as_problems():
            answer = maintenance.lock(asker(request), target, wish["reason"], wish["expires_at"], wait_s=0)
        return verbs.wished(request, answer)


class Unlock(ApiView):
    """Releasing a maintenance lock."""

    access = {"POST": _OPERATOR}
    problems = {"POST": (409,)}

    @extend_schema(operation_id="maintenance_release", request=NoteInput, responses={202: WishOutput}, tags=_TAG)
    def post(self, request: Request, lock_id: UUID) -> Response:
        """Release a maintenance lock. Its holder, and operators of what is locked."""
        found = get_object_or_404(MaintenanceLock, pk=lock_id)
        with verbs.as_problems():
            answer = maintenance.unlock(asker(request), found, body(NoteInput, request)["note"], wait_s=0)
        return verbs.wished(request, answer)


class Clear(ApiView):
    """Quarantine."""

    access = {"POST": _OPERATOR}
    problems = {"POST": (409,)}

    @extend_schema(operation_id="devices_clear", request=SeenInput, responses={202: WishOutput}, tags=_TAG)
    def post(self, request: Request, device_id: str) -> Response:
        """Release a device from quarantine, in which it is since its driver failed. Operators of it."""
        device = get_object_or_404(Device, pk=device_id)
        if not maintenance.operates(asker(request), device):
            raise Http404
        with verbs.as_problems():
            answer = maintenance.clear(asker(request), device, body(SeenInput, request)["note"], wait_s=0)
        return verbs.wished(request, answer)


class RunInput(StrictSerializer):
    """A task, and its parameters."""

    task = serializers.SlugField(max_length=64)
    parameters = serializers.DictField(default=dict)
    reason = serializers.CharField(default="", allow_blank=True, max_length=100)


class RunByHand(ApiView):
    """Manual control."""

    access = {"POST": _OPERATOR}
    problems = {"POST": (503,)}

    @extend_schema(operation_id="modules_run", request=RunInput, responses={202: JobOutput}, tags=_TAG)
    def post(self, request: Request, module_id: str) -> Response:
        """Run a task of a module by hand, as a job of your own with the highest priority. Operators of the module.

        It takes its devices as every step does, so it collides with nothing. It may use devices that you hold under a
        maintenance lock, and devices in quarantine.
        """
        module = get_object_or_404(Module, pk=module_id)
        wish = body(RunInput, request)
        with verbs.as_problems():
            job = maintenance.run_by_hand(
                *(asker(request), module, wish["task"], wish["parameters"], wish["reason"]),
                by_agent=verbs.by_agent(request),
            )
        return Response(shown_job(job), status=202, headers={"Location": f"/api/v1/jobs/{job.pk}"})
