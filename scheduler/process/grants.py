"""Which units may start now: everything before them is done, and what they need is theirs by the plan's order.

Execution follows the order of the plan, not its clock: a unit may start early, but never displaces one that the
plan puts before it on a device, a setting or a place. Only a unit that opens a window (something must follow it
within a time) waits for its planned start, because nobody has checked that the rest would fit earlier.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from scheduler.process.crowds import Crowds
from scheduler.process.equipment import LiveDevice
from scheduler.process.live import LabState, LiveJob, LiveMember, LiveStep, Need, Unit
from scheduler.process.queues import Key, Queues, keys_of
from scheduler.states import StepState

_LOST = (StepState.FAILED, StepState.ABORTED, StepState.SKIPPED, StepState.CANCELLED)


class Gate(Protocol):
    """What a policy has to say about starting."""

    def may_open(self, unit: Unit) -> bool:
        """Tell whether the policy lets the unit's job into the lab now."""
        ...

    def fresh(self, now_s: float) -> bool:
        """Tell whether the plan's times can be relied on; if not, it is repaired in this turn and all is looked at."""
        ...


class Grants:
    """Finds the units that may start, by looking only at those for which something has changed."""

    def __init__(self, state: LabState, gate: Gate) -> None:
        self.state = state
        self.gate = gate
        self.queues = Queues()
        self.bench_away = False
        """While the document store is away no attended step starts: its claim could not be decided."""
        self.crowds = Crowds()
        self.on_breach: Callable[[Unit], None] = lambda unit: None
        """Called with a unit that cannot start in time, where the job wants to be asked."""
        self._woken: dict[str, Unit] = {}
        self._due: list[tuple[float, int, Unit]] = []
        self._serial = itertools.count()

    # --- what may have changed

    def add(self, unit: Unit) -> None:
        """Let a waiting unit queue."""
        if unit.waiting:
            self.queues.add(unit)
            self.wake(unit)

    def remove(self, unit: Unit) -> None:
        """Take a unit out: it starts, or never will."""
        if unit.queued:
            self.queues.remove(unit)
            for key in keys_of(unit):
                self.wake_key(key)

    def wake(self, unit: Unit) -> None:
        """Look at a unit in the next round."""
        if unit.queued:
            self._woken[unit.id] = unit

    def wake_key(self, key: Key) -> None:
        """Look at those who wait for this and could be next."""
        kind, name = key
        room = self.state.places.free.get(name, 0) if kind == "place" else 0
        first: Any = None
        for unit in self.queues.waiting(key):
            self._woken[unit.id] = unit
            if kind == "device" and unit.devices[name] == "use":
                return
            if kind == "place":
                room -= max(1, len(unit.first.alive))
                if room <= 0:
                    return
            if kind == "setting":
                first = unit.settings[name] if first is None else first
                if unit.settings[name] != first:
                    return

    def wake_followers(self, step: LiveStep) -> None:
        """Look at the units that needed this step."""
        for follower in step.followers:
            self.wake(follower.unit)

    def wake_job(self, job: LiveJob) -> None:
        """Look at all that waits of a job: whether it may go on has changed."""
        for unit in job.units:
            self.wake(unit)

    def reordered(self) -> None:
        """The plan has another order: anybody may be next now."""
        self.queues.resort()
        self.wake_all()

    def wake_all(self) -> None:
        """Look at everything that waits."""
        for unit in self.state.units.values():
            self.wake(unit)

    def next_due_s(self) -> float | None:
        """Return the lab time at which the next unit has waited long enough."""
        while self._due and not self._due[0][2].queued:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    # --- one round

    def ready(self, now_s: float) -> Iterator[Unit]:
        """Yield units that may start, first of the plan first. The caller starts each before it asks for the next."""
        while self._due and self._due[0][0] <= now_s:
            self.wake(heapq.heappop(self._due)[2])
        while self._admit() or self._woken:
            batch = sorted(self._woken.values(), key=lambda unit: unit.order)
            self._woken = {}
            for unit in batch:
                if unit.queued and self.may_start(unit, now_s):
                    yield unit

    def _admit(self) -> bool:
        admitted = list(self.crowds.admitted())
        for unit in admitted:
            self.wake(unit)
        return bool(admitted)

    def may_start(self, unit: Unit, now_s: float) -> bool:
        """Tell whether a unit may start now."""
        if not (unit.waiting and unit.schedulable):
            return False
        due_s = self.due_s(unit)
        if due_s is None or not unit.first.alive:
            return False
        if unit.person:
            due_s = max(due_s, self.state.duty.next_s(unit.devices, now_s))
        if due_s > now_s:
            heapq.heappush(self._due, (due_s, next(self._serial), unit))
            return False
        if unit.ends and self.state.setting_holders[unit.ends]:
            return False
        if unit.awaits or unit.first.asks or self._must_ask(unit, now_s):
            return False
        if not (self._host_ready(unit) and self._all_free(unit) and self._window_open(unit, now_s)):
            return False
        return unit.standby or self.crowds.room(unit)

    def _must_ask(self, unit: Unit, now_s: float) -> bool:
        """Tell whether a window is broken about which somebody wants to be asked; then ask."""
        if unit.first.question is not None or not any(need.on_breach == "ask" for need in unit.outer):
            return False
        need, _ = late_s(unit, self.state, now_s)
        if need is not None:
            self.on_breach(unit)
            return True
        closes_s = self._latest_s(unit)
        if closes_s is not None:
            # Whatever else it waits for: when the window has closed, it is asked about.
            heapq.heappush(self._due, (max(closes_s * (1 + 1e-9) + 0.05, now_s + 0.05), next(self._serial), unit))
        return False

    def due_s(self, unit: Unit) -> float | None:
        """Return the lab time at which all waits before the unit are over; None if a predecessor is not done."""
        due_s = unit.first.not_before_s
        for need in unit.outer:
            before = self.state.steps.get(need.step)
            if before is None or void(need, before, unit):
                continue
            if before.state != StepState.COMPLETED or before.ended_s is None:
                return None
            due_s = max(due_s, before.ended_s + need.min_s)
        return due_s

    def _host_ready(self, unit: Unit) -> bool:
        if unit.standby:
            return True
        if self.bench_away or not self.gate.may_open(unit):
            return False
        if self.state.estopped & {"lab", unit.first.module}:
            return False
        # An order for another manifest than the host serves would be refused.
        module = unit.first.module
        if self.state.manifests.get(module) != unit.job.manifests.get(module):
            return False
        if any(self.state.short_of(step) for step in unit.steps if step.consumes):
            return False
        return all(self._usable(device, unit) for device in unit.devices)

    def _usable(self, device: str, unit: Unit) -> bool:
        live = self.state.devices.get(device)
        return live is not None and live.usable_for(unit.job)

    def _all_free(self, unit: Unit) -> bool:
        return (
            all(self._device_free(unit, device, mode) for device, mode in unit.devices.items())
            and all(self._places_free(unit, resource) for resource in dict.fromkeys(unit.takes))
            and all(self._setting_free(unit, key, value) for key, value in unit.settings.items())
        )

    def _device_free(self, unit: Unit, name: str, mode: str) -> bool:
        device: LiveDevice = self.state.devices[name]
        if device.holders and (mode == "use" or any(u.devices[name] == "use" for u in device.holders.values())):
            return False
        for other in self.queues.before(("device", name), unit):
            # Who may not use the device at all, because of a lock, holds up nobody who may.
            if (mode == "use" or other.devices[name] == "use") and device.usable_for(other.job):
                return False
        return True

    def _places_free(self, unit: Unit, resource: str) -> bool:
        room = self.state.places.free.get(resource, 0)
        room -= wanted(unit, resource)
        if room < 0:
            return False
        for other in self.queues.before(("place", resource), unit):
            room -= wanted(other, resource)
            if room < 0:
                return False
        return True

    def _setting_free(self, unit: Unit, key: str, value: Any) -> bool:
        ending = self.state.endings.get(key)
        if ending is not None and not ending.waiting:
            # It would be switched off under the hands of whoever takes it.
            return False
        own = {holder_of(member) for member in unit.first.alive}
        for holder, held in self.state.setting_holders[key].items():
            if held != value and holder not in own:
                return False
        if own <= self.state.setting_holders[key].keys():
            return True
        return all(other.settings[key] == value for other in self.queues.before(("setting", key), unit))

    # --- windows

    def _window_open(self, unit: Unit, now_s: float) -> bool:
        """Tell whether a unit may start although something has to follow it within a time."""
        if unit.early or unit.standby:
            return True
        latest_s = self._latest_s(unit)
        if latest_s is None and not all(self._usable(device, unit) for device in downstream_devices(unit, self.state)):
            return False
        planned_s = unit.first.planned_start_s
        if planned_s is None or (latest_s is not None and latest_s <= now_s):
            return True
        if not self.gate.fresh(now_s):
            return False
        open_s = planned_s if latest_s is None else min(planned_s, latest_s)
        if open_s > now_s:
            heapq.heappush(self._due, (open_s, next(self._serial), unit))
            return False
        return True

    def _latest_s(self, unit: Unit) -> float | None:
        """Return the lab time at which the first window that leads to the unit closes."""
        latest_s = None
        for need in unit.outer:
            before = self.state.steps.get(need.step)
            if need.max_s is not None and before is not None and before.ended_s is not None:
                closes_s = before.ended_s + need.max_s
                latest_s = closes_s if latest_s is None else min(latest_s, closes_s)
        return latest_s


def wanted(unit: Unit, resource: str) -> int:
    """Return how many places the unit still has to get of a resource that it takes."""
    return sum(resource not in member.sample.places for member in unit.first.alive)


def holder_of(member: LiveMember) -> str:
    """Return in whose name settings are held."""
    return member.sample.id or member.sample.job.id


def void(need: Need, before: LiveStep, unit: Unit) -> bool:
    """Tell whether a need binds nobody any more.

    A clean-up heeds only the steps of clean-ups. A batch heeds a step that was not done only if it was for a sample
    that is still in the batch.
    """
    members = unit.first.members
    if members and members[0].task.cleanup and not any(member.task.cleanup for member in before.members):
        return True
    if before.state not in _LOST:
        return False
    shared = {id(member.sample) for member in before.members} & {id(member.sample) for member in members}
    return bool(shared) and not shared & {id(member.sample) for member in unit.first.alive}


def late_s(unit: Unit, state: LabState, now_s: float) -> tuple[Need | None, float]:
    """Return the window of a unit, with ``on_breach: ask``, that is broken most, and by how much (lab seconds)."""
    worst: Need | None = None
    most_s = 0.0
    for need in unit.outer:
        before = state.steps.get(need.step)
        if need.max_s is None or need.on_breach != "ask" or before is None or before.ended_s is None:
            continue
        by_s = now_s - before.ended_s - need.max_s
        if by_s > max(most_s, 1e-6):
            worst, most_s = need, by_s
    return worst, most_s


def downstream_devices(unit: Unit, state: LabState) -> set[str]:
    """Return the devices of everything that must follow the unit within a time, directly or not."""
    devices: set[str] = set()
    seen = {unit.id}
    stack = [unit]
    while stack:
        for step in stack.pop().steps:
            for follower in step.followers:
                if follower.unit.id in seen or follower.dormant:
                    continue
                if any(need.step == step.id and need.max_s is not None for need in follower.needs):
                    seen.add(follower.unit.id)
                    devices.update(follower.unit.devices)
                    stack.append(follower.unit)
    return devices
