"""Maintenance locks, quarantine, and running a task by hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from scheduler.models import Device, Job, MaintenanceLock, Module
from scheduler.services.jobs import submit_job
from scheduler.services.requests import WAIT_S, Answer, ask
from users.models import User
from users.permissions import require

PRIORITY = 10
"""Of what is run by hand: somebody stands there and waits."""


def lock(
    user: User, target: Device | Module, reason: str, expires_at: datetime | None = None, *, wait_s: float = WAIT_S
) -> Answer:
    """Lock a device, or all devices of a module, for maintenance. What runs is not disturbed.

    Raises
    ------
    IllegalStateError
        If it is locked already, or the reason or the end is not possible.
    PermissionDenied
        If the user operates neither the module nor any module of the device.
    """
    require(operates(user, target), "Only operators of it may lock it.")
    kind = "device" if isinstance(target, Device) else "module"
    end = None if expires_at is None else expires_at.isoformat()
    return ask("lock", user, None, wait_s, kind=kind, target=target.pk, reason=reason, expires_at=end)


def unlock(user: User, found: MaintenanceLock, note: str = "", *, wait_s: float = WAIT_S) -> Answer:
    """Release a lock: its holder may, and any operator of what is locked.

    Raises
    ------
    IllegalStateError
        If it is released already.
    PermissionDenied
        If the user may not.
    """
    allowed = found.holder_id == user.pk or operates(user, locked(found))
    require(allowed, "Only its holder and operators of what is locked may release it.")
    return ask("unlock", user, None, wait_s, lock=str(found.pk), note=note)


def clear(user: User, device: Device, note: str, *, wait_s: float = WAIT_S) -> Answer:
    """Release a device from quarantine; the note says what was seen.

    Raises
    ------
    IllegalStateError
        If it is not in quarantine.
    PermissionDenied
        If the user operates no module of it.
    """
    require(operates(user, device), "Only operators of it may release it from quarantine.")
    return ask("clear_device", user, None, wait_s, device=device.pk, note=note)


def run_by_hand(
    user: User, module: Module, task: str, parameters: Mapping[str, Any], reason: str, *, by_agent: bool = False
) -> Job:
    """Run a task that a module declares, now, as a job of the operator's own with the highest priority.

    It takes its devices by the same claim as any other step, so it cannot collide with one. Devices that the user
    holds under a maintenance lock, and devices in quarantine, may be used by it.

    Raises
    ------
    JobRefused
        If there is no such task, or a parameter is wrong.
    PermissionDenied
        If the user does not operate the module.
    """
    require(user.operates(module.pk), f"Only operators of {module.pk} may run its tasks by hand.")
    step: dict[str, Any] = {"task": f"{module.pk}.{task}"}
    if parameters:
        step["with"] = dict(parameters)
    name = f"By hand: {module.pk}.{task}" + (f" ({reason})" if reason else "")
    document = {"name": name[:200], "priority": PRIORITY, "workflow": [step]}
    job, _ = submit_job(user=user, document=document, manual=True, by_agent=by_agent)
    return job


def operates(user: User, target: Device | Module | None) -> bool:
    """Tell whether the user operates a module, or any module of a device."""
    if isinstance(target, Device):
        return any(map(user.operates, target.modules))
    return target is not None and user.operates(target.pk)


def locked(found: MaintenanceLock) -> Device | Module | None:
    """Return what a lock locks; None if the lab has it no more."""
    if found.kind == "device":
        return Device.objects.filter(pk=found.target).first()
    return Module.objects.filter(pk=found.target).first()
