"""The operator's devices: locks, quarantine, and running a task by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from scheduler.models import Device, MaintenanceLock, Module
from scheduler.services import interlocks, maintenance
from scheduler.services.jobs import JobRefused, LabNotReady
from scheduler.services.requests import IllegalStateError

from . import words
from .answers import tell
from .asker import asker
from .doings import let_go
from .operator import operators_only

LONGEST_H = 24 * 90


def rows(request: HttpRequest) -> dict[str, Any]:
    """Return the devices that the user operates with their locks, and the tasks that may be run by hand."""
    user = asker(request)
    locks = MaintenanceLock.objects.filter(released_at=None).select_related("holder").order_by("id")
    modules = [module for module in Module.objects.select_related("manifest") if user.operates(module.pk)]
    devices = [device for device in Device.objects.order_by("id") if maintenance.operates(user, device)]
    return {
        "devices": [
            {"device": device, "first": let_go([device.pk], user)[:1] if device.quarantine else []}
            for device in devices
        ],
        "locks": [{"lock": lock, "first": let_go(_locked(lock), user)[:1]} for lock in locks],
        "interlocks": interlocks.listed(),
        "modules": modules,
        "by_hand": [
            (f"{module.pk}.{task['name']}", f"{words.thing(module.pk)}: {task['title']}")
            for module in modules
            if module.manifest is not None
            for task in module.manifest.document.get("tasks", ())
            if task.get("sample") == "none" and not task.get("parameters", {}).get("required")
        ],
    }


def _locked(lock: MaintenanceLock) -> list[str]:
    if lock.kind == "device":
        return [lock.target]
    return [device.pk for device in Device.objects.all() if lock.target in device.modules]


@operators_only
@require_POST
def lock(request: HttpRequest) -> HttpResponse:
    """Lock a device or a module."""
    kind, _, name = request.POST.get("target", "").partition(":")
    model: Any = Device if kind == "device" else Module
    target = get_object_or_404(model, pk=name)
    try:
        hours = float(request.POST.get("hours") or 0)
    except ValueError:
        hours = 0.0
    expires_at = timezone.now() + timedelta(hours=hours) if 0 < hours <= LONGEST_H else None
    return _done(request, maintenance.lock, target, request.POST.get("reason", "")[:1000], expires_at)


@operators_only
@require_POST
def unlock(request: HttpRequest, lock_id: UUID) -> HttpResponse:
    """Release a lock."""
    return _done(request, maintenance.unlock, get_object_or_404(MaintenanceLock, pk=lock_id))


@operators_only
@require_POST
def acknowledge(request: HttpRequest, interlock_id: str) -> HttpResponse:
    """Note who has seen an interlock's trip."""
    return _done(request, interlocks.acknowledge, interlock_id, request.POST.get("note", "")[:2000])


@operators_only
@require_POST
def clear(request: HttpRequest, device_id: str) -> HttpResponse:
    """Release a device from quarantine."""
    return _done(request, maintenance.clear, get_object_or_404(Device, pk=device_id), request.POST.get("note", ""))


@operators_only
@require_POST
def run(request: HttpRequest) -> HttpResponse:
    """Run a task by hand."""
    name, _, task = request.POST.get("task", "").partition(".")
    module = get_object_or_404(Module, pk=name)
    try:
        job = maintenance.run_by_hand(asker(request), module, task, {}, "")
    except (JobRefused, LabNotReady) as refusal:
        messages.error(request, str(refusal), extra_tags="bad")
        return redirect("operator")
    return redirect("job", job_id=job.pk)


def _done(request: HttpRequest, verb: Any, *arguments: Any) -> HttpResponse:
    try:
        tell(request, verb(asker(request), *arguments))
    except IllegalStateError as refusal:
        messages.error(request, str(refusal), extra_tags="bad")
    return redirect("operator")
