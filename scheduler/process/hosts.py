"""Hosts: their heartbeats, leases, devices and manifests.

A lease is measured by this process's monotonic clock, and only while it could itself read the store: a host is not
blamed for our own blindness.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from modules.contract.messages import HostRecord
from scheduler.process.bench import Bench
from scheduler.process.equipment import LiveDevice
from scheduler.process.flow import Flow
from scheduler.process.latches import Latches
from scheduler.process.live import ATTENDED, Unit
from scheduler.process.maintenance import Maintenance
from scheduler.process.manifests import Manifests
from scheduler.states import DeviceState

log = structlog.get_logger("octolab.scheduler")

LEASE_S = 10.0
"""Without a sign of life for so long, what a host runs is taken from it."""
SILENT_S = 7.0
"""Without one for so long, its devices are shown as offline, and nothing new is sent to it: at the latest 10 s after
its death, together with the beat that it had just made and the next look."""
LOOK_S = 1.0


@dataclass(slots=True)
class _Host:
    record: HostRecord
    changed_s: float
    """Monotonic time at which the beat was last seen to move."""
    alive: bool = False
    ended: set[str] = field(default_factory=set)


class Hosts:
    """Watches all hosts, once a second."""

    def __init__(self, flow: Flow, bench: Bench, manifests: Manifests) -> None:
        self.flow = flow
        self.bench = bench
        self.manifests = manifests
        self.latches = Latches(flow, bench)
        self.maintenance = Maintenance(flow, self.show)
        self.look_further: Callable[[], None] = lambda: None
        """Called at each look, before devices are shown."""
        self._hosts: dict[str, _Host] = {}
        self._looked_s = 0.0

    def look_s(self) -> float:
        """Return the monotonic time of the next look."""
        return self._looked_s + LOOK_S

    def look_soon(self) -> None:
        """Let the next look be due now."""
        self._looked_s = 0.0

    def look(self) -> list[Unit]:
        """Read the heartbeats; return the units whose host has lost its lease with them.

        Raises
        ------
        AwayError
            If the store cannot be read; nothing is concluded then.
        """
        records = self.bench.hosts()
        tripped = self.latches.look()
        self.maintenance.look(self.flow.changes.at)
        self.look_further()
        now_s = self._looked_s = time.monotonic()
        for record in records:
            self._beat(record, now_s)
        self.manifests.take_in({h.record.host: h.record for h in self._hosts.values() if h.alive}, self.flow)
        for name, device in self.flow.state.devices.items():
            self._see(device, self._hosts.get(device.host), self._estop(name, tripped))
        return self._orphans()

    def has_ended(self, host: str, incarnation: str) -> bool:
        """Tell whether an incarnation of a host is known to have ended."""
        known = self._hosts.get(host)
        return known is not None and incarnation in known.record.previous

    def _beat(self, record: HostRecord, now_s: float) -> None:
        known = self._hosts.get(record.host)
        if known is None:
            # What was left behind by a host that ended long ago must not count as alive: wait for one beat.
            self._hosts[record.host] = _Host(record, now_s)
            return
        moved = (record.incarnation, record.beat) != (known.record.incarnation, known.record.beat)
        known.record = record
        if moved:
            known.changed_s = now_s
            if not known.alive:
                log.info("host is alive", host=record.host, incarnation=record.incarnation)
                known.alive = True
                self.flow.state.hosts_alive.add(record.host)
                self.flow.grants.wake_all()
            return
        still_s = now_s - max(known.changed_s, self.bench.readable_since_s)
        if known.alive and still_s > min(SILENT_S, LEASE_S):
            log.warning("host is silent", host=record.host, incarnation=record.incarnation)
            known.alive = False
            self.flow.state.hosts_alive.discard(record.host)
            for module in record.modules:
                self.flow.state.manifests.pop(module, None)
            self.flow.plan.mark_stale()

    def _orphans(self) -> list[Unit]:
        """Return units claimed by a host that is silent for longer than a lease."""
        now_s = time.monotonic()
        lost = []
        for unit in self.flow.state.units.values():
            if unit.claimed and unit.state in ATTENDED:
                host = self._hosts.get(unit.host)
                if host is None or (
                    host.record.incarnation == unit.incarnation
                    and not host.alive
                    and now_s - max(host.changed_s, self.bench.readable_since_s) > LEASE_S
                ):
                    lost.append(unit)
        return lost

    def _estop(self, device: str, tripped: dict[str, str]) -> str:
        if "lab" in tripped:
            return tripped["lab"]
        modules = self.flow.state.devices[device].modules
        return next((tripped[module] for module in modules if module in tripped), "")

    def _see(self, device: LiveDevice, host: _Host | None, estop: str) -> None:
        alive = host is not None and host.alive
        says = host.record.devices.get(device.id, DeviceState.OFFLINE) if host and alive else DeviceState.OFFLINE
        if device.person:
            says = DeviceState.IDLE
        before = device.usable
        device.host_says, device.estop = says, estop
        self.show(device)
        if device.usable != before:
            self.flow.plan.mark_stale()
            self.flow.plan.wanted = True
            self.flow.grants.wake_all()

    def show(self, device: LiveDevice) -> None:
        """Derive the device's state from what is known of it."""
        changes = self.flow.changes
        if device.attempt_id:
            return
        if device.estop:
            changes.device(device, DeviceState.ESTOPPED, device.estop)
        elif device.interlock:
            changes.device(device, DeviceState.ERROR, device.interlock)
        elif device.holders and device.sound:
            changes.device(device, DeviceState.BUSY)
        elif device.sound or device.quarantine:
            changes.device(device, *device.at_rest)
        else:
            reason = "its host does not answer" if device.host_says == DeviceState.OFFLINE else "its host says so"
            changes.device(device, device.host_says, reason)
