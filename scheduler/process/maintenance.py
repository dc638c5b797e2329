"""What keeps a device from being used although its host is content: maintenance locks, and quarantine.

A lock has a holder, a reason and perhaps an end; it keeps everybody's work off a device, or off all devices of a
module, except what its holder runs by hand. What runs already is not disturbed. A device whose driver has failed is
in quarantine until an operator has looked at it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

from django.utils.dateparse import parse_datetime

from scheduler.events import Happening
from scheduler.models import MaintenanceLock, Request
from scheduler.process.control import RefusedError
from scheduler.process.equipment import LiveDevice
from scheduler.process.flow import Flow

KIND = "maintenance"


class Maintenance:
    """Open locks and quarantines.

    Parameters
    ----------
    show
        Derives a device's state anew.
    """

    def __init__(self, flow: Flow, show: Callable[[LiveDevice], None]) -> None:
        self.flow = flow
        self._show = show
        self._locks: dict[str, MaintenanceLock] = {}
        self.verbs: dict[str, Callable[[Request], None]] = {
            "lock": self._lock,
            "unlock": self._unlock,
            "clear_device": self._clear,
        }

    def load(self) -> None:
        """Read the open locks, and tell the devices."""
        rows = MaintenanceLock.objects.filter(released_at=None).select_related("holder").order_by("id")
        self._locks = {str(lock.pk): lock for lock in rows}
        for device in self.flow.state.devices.values():
            self._cover(device)

    def look(self, at: datetime) -> None:
        """End the locks whose time is over."""
        for lock in list(self._locks.values()):
            if lock.expires_at is not None and lock.expires_at <= at:
                self._end(lock, "octolab", "its time is over")

    def quarantine(self, device: LiveDevice, why: str) -> None:
        """Keep a device from being used until an operator has looked at it."""
        device.quarantine = f"in quarantine: {why}"[:1000]
        self.flow.changes.touch(device)
        self._changed(device)

    # --- verbs

    def _lock(self, request: Request) -> None:
        kind, target = str(request.payload.get("kind")), str(request.payload.get("target"))
        reason, text = str(request.payload.get("reason") or "").strip(), request.payload.get("expires_at")
        if not reason:
            raise RefusedError("a maintenance lock needs a reason")
        for lock in self._locks.values():
            if (lock.kind, lock.target) == (kind, target):
                raise RefusedError(f"{target} is locked by {lock.holder.get_username()} already: {lock.reason}")
        covered = [device for device in self.flow.state.devices.values() if _covers(kind, target, device)]
        if not covered:
            raise RefusedError(f"there is no {kind} {target!r} with devices")
        expires_at = None if text is None else parse_datetime(str(text))
        if text is not None and (expires_at is None or expires_at.tzinfo is None):
            raise RefusedError("an end is an ISO date and time with its offset from UTC")
        if expires_at is not None and expires_at <= self.flow.changes.at:
            raise RefusedError("this end has passed already")
        lock = MaintenanceLock(
            id=request.pk, kind=kind, target=target, holder=request.actor, reason=reason, since_at=self.flow.changes.at,
            expires_at=expires_at,
        )  # fmt: skip
        self.flow.changes.writes.append(partial(lock.save, force_insert=True))
        self._locks[str(lock.pk)] = lock
        self._tell(lock, "locked", request.actor.get_username(), reason)
        for device in covered:
            self._cover(device)
            self._changed(device)

    def _unlock(self, request: Request) -> None:
        lock = self._locks.get(str(request.payload.get("lock")))
        if lock is None:
            raise RefusedError("this lock is released already")
        self._end(lock, request.actor.get_username(), str(request.payload.get("note") or ""))

    def _clear(self, request: Request) -> None:
        device = self.flow.state.devices.get(str(request.payload.get("device")))
        note = str(request.payload.get("note") or "").strip()
        if device is None or not device.quarantine:
            raise RefusedError("this device is not in quarantine")
        if not note:
            raise RefusedError("to clear a device needs a note that says what was seen")
        device.quarantine = ""
        changes = self.flow.changes
        changes.touch(device)
        changes.happened(
            Happening(KIND, device.id, state_from="quarantine", state_to="cleared",
                      actor=request.actor.get_username(), reason=note)
        )  # fmt: skip
        self._changed(device)

    # --- helpers

    def _end(self, lock: MaintenanceLock, actor: str, note: str) -> None:
        del self._locks[str(lock.pk)]
        lock.released_at, lock.released_by = self.flow.changes.at, actor
        self.flow.changes.writes.append(partial(lock.save, update_fields=["released_at", "released_by"]))
        self._tell(lock, "released", actor, note)
        for device in self.flow.state.devices.values():
            if _covers(lock.kind, lock.target, device):
                self._cover(device)
                self._changed(device)

    def _cover(self, device: LiveDevice) -> None:
        device.lock, device.lock_holder = "", ""
        for lock in self._locks.values():
            if _covers(lock.kind, lock.target, device):
                until = f" until {lock.expires_at:%Y-%m-%d %H:%M} UTC" if lock.expires_at is not None else ""
                device.lock = f"locked by {lock.holder.get_username()}{until}: {lock.reason}"
                device.lock_holder = str(lock.holder_id)

    def _changed(self, device: LiveDevice) -> None:
        self._show(device)
        self.flow.plan.mark_stale()
        self.flow.plan.wanted = True
        self.flow.grants.wake_all()

    def _tell(self, lock: MaintenanceLock, to: str, actor: str, reason: str) -> None:
        old = "released" if to == "locked" else "locked"
        data = {"kind": lock.kind, "expires_at": None if lock.expires_at is None else lock.expires_at.isoformat()}
        self.flow.changes.happened(
            Happening(KIND, lock.target, state_from=old, state_to=to, actor=actor, reason=reason, data=data)
        )


def _covers(kind: str, target: str, device: LiveDevice) -> bool:
    return target == device.id if kind == "device" else kind == "module" and target in device.modules
