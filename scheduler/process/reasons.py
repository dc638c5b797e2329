"""Why a step does not start although nothing of the plan stands in its way: people, hosts, devices, stocks.

These reasons come before those of the plan, because no other order would help. Job states that say everything by
themselves (held, paused, awaiting approval) are known to the web already.
"""

from __future__ import annotations

from typing import Any

from scheduler.process.equipment import LiveDevice
from scheduler.process.grants import downstream_devices
from scheduler.process.live import LabState, LiveJob, Unit
from scheduler.states import STEP_FINAL, StepState

_UNDER_WAY = (StepState.GRANTED, StepState.DISPATCHED, StepState.RUNNING, StepState.PAUSING, StepState.PAUSED)


def next_unit(job: LiveJob, step_id: str | None) -> Unit | None:
    """Return the unit of a step, or that of a job which waits for a person or starts next; None if nothing waits."""
    if step_id is not None:
        return next((unit for unit in job.units if any(step.id == step_id for step in unit.steps)), None)
    asked = next((unit for unit in job.units if unit.person and unit.state == StepState.DISPATCHED), None)
    if asked is not None:
        return asked
    waiting = [unit for unit in job.units if unit.waiting]
    return min(waiting, key=lambda unit: unit.order, default=None)


def reason(state: LabState, unit: Unit, now_s: float) -> dict[str, Any] | None:
    """Return why a unit does not start, if that is no matter of the plan."""
    step = unit.first
    if step.state in STEP_FINAL:
        return {"reason": "over", "thing": ""}
    if step.dormant:
        return {"reason": "dormant", "thing": ""}
    if step.state == StepState.INTERRUPTED:
        return {"reason": "interrupted", "thing": ""}
    if unit.person and step.state in _UNDER_WAY:
        return {"reason": "human", "thing": next(iter(unit.devices), "")}
    if step.state in _UNDER_WAY:
        return {"reason": "under_way", "thing": ""}
    for scope in ("lab", step.module):
        if scope in state.estopped:
            return {"reason": "estop", "thing": scope}
    if unit.awaits:
        return {"reason": "value", "thing": "", "text": step.reason}
    if step.asks:
        return {"reason": "question", "thing": "", "text": step.reason}
    if unit.standby:
        return None
    if unit.person and (next_s := state.duty.next_s(unit.devices, now_s)) > now_s:
        return {"reason": "human", "thing": next(iter(unit.devices), ""), "until_lab_s": next_s}
    for name in (*unit.devices, *sorted(downstream_devices(unit, state) - unit.devices.keys())):
        device = state.devices.get(name)
        if device is None or not device.usable_for(unit.job):
            return {"reason": "unusable", "thing": name, **_trouble(device)}
    if step.module not in state.manifests:
        return {"reason": "silent", "thing": step.module}
    if state.manifests[step.module] != unit.job.manifests.get(step.module):
        return {"reason": "changed", "thing": step.module}
    for one in unit.steps:
        if (stock := state.short_of(one)) is not None:
            return {"reason": "stock", "thing": stock, "level": state.stocks[stock], "needs": one.consumes[stock]}
    if step.not_before_s > now_s:
        return {"reason": "retry", "thing": "", "until_lab_s": step.not_before_s, "text": step.reason}
    return None


def _trouble(device: LiveDevice | None) -> dict[str, str]:
    """Return what is wrong with a device, in one word and in the words of whoever found it."""
    if device is None:
        return {"kind": "unknown", "text": "nobody knows it"}
    for kind, text in (
        ("estop", device.estop),
        ("interrupted", device.attempt_id and device.reason),
        ("interlock", device.interlock),
        ("quarantine", device.quarantine),
        ("maintenance", device.lock),
    ):
        if text:
            return {"kind": kind, "text": text}
    return {"kind": str(device.host_says), "text": device.reason}
