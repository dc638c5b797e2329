"""Interlocks as the scheduler sees them: what a tripped one covers is blocked, and everybody is told.

Hosts evaluate them and act on what runs there at once. Here the jobs follow, the log is written, operators are told,
and their acknowledgement is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from modules.contract.interlocks import InterlockSection
from modules.contract.lab import Lab
from notifications.outbox import tell_operators
from scheduler.events import Happening
from scheduler.models import Interlock, Request
from scheduler.process.bench import Bench
from scheduler.process.control import JobControl, RefusedError
from scheduler.process.equipment import LiveDevice
from scheduler.process.flow import Flow
from scheduler.process.live import ATTENDED
from scheduler.states import JobState

KIND = "interlock"


class Interlocks:
    """Reads what hosts have found, and draws the consequences.

    Parameters
    ----------
    show
        Derives a device's state anew.
    """

    def __init__(
        self, lab: Lab, flow: Flow, bench: Bench, control: JobControl, show: Callable[[LiveDevice], None]
    ) -> None:
        self.flow = flow
        self.bench = bench
        self.control = control
        self._show = show
        self._sections = {section.id: section for section in lab.interlocks}
        self._rows: dict[str, Interlock] = {}
        self.verbs: dict[str, Callable[[Request], None]] = {"acknowledge": self._acknowledge}

    def load(self) -> None:
        """Read how they were, and tell the devices."""
        self._rows = {row.pk: row for row in Interlock.objects.filter(pk__in=self._sections)}
        for device in self.flow.state.devices.values():
            device.interlock = self._blocks(device)

    def look(self) -> None:
        """Take in what has changed.

        Raises
        ------
        AwayError
            If the store cannot be read.
        """
        if not self._sections:
            return
        for record in self.bench.interlocks():
            section = self._sections.get(record["interlock"])
            known = self._rows.get(record["interlock"])
            if section is None or (known is not None and known.serial >= record["serial"]):
                continue
            for change in self.bench.interlock_log(section.id, 0 if known is None else known.serial):
                self._take_in(section, change)

    def _take_in(self, section: InterlockSection, change: dict[str, Any]) -> None:
        changes, tripped = self.flow.changes, bool(change["tripped"])
        row = Interlock(
            id=section.id, tripped=tripped, value=change["value"], serial=change["serial"],
            since_at=datetime.fromisoformat(change["at"]),
        )  # fmt: skip
        self._rows[section.id] = row
        changes.writes.append(row.save)
        reason = f"{section.reading} is {_said(change['value'])}"
        old, new = ("clear", "tripped") if tripped else ("tripped", "clear")
        data = {"value": change["value"], "serial": change["serial"], "does": section.does}
        changes.happened(
            Happening(KIND, section.id, state_from=old, state_to=new, actor=change["host"], reason=reason, data=data)
        )
        name = section.title or section.id
        title = f"Interlock {name} {'has tripped' if tripped else 'is clear again'}"
        body = f"{reason}. It covers {', '.join(section.covers)}" + (f" and does: {section.does}." if tripped else ".")
        changes.writes.append(partial(tell_operators, f"interlock_{new}", title, body))
        self._cover()
        if tripped:
            self._act(section, f"interlock {section.id}", reason)

    def _act(self, section: InterlockSection, actor: str, reason: str) -> None:
        """Let jobs follow what hosts did to their running steps."""
        for unit in list(self.flow.state.units.values()):
            covered = any(_covers(section, self.flow.state.devices[d]) for d in unit.devices)
            if unit.standby or unit.state not in ATTENDED or not covered:
                continue
            if section.does == "pause" and unit.job.state == JobState.RUNNING:
                self.control.pause(unit.job, actor, reason)
            elif section.does == "abort":
                self.control.tell(unit, "abort", actor, reason)

    def _acknowledge(self, request: Request) -> None:
        row = self._rows.get(str(request.payload.get("interlock")))
        note = str(request.payload.get("note") or "").strip()
        if row is None:
            raise RefusedError("this interlock has never tripped")
        if row.acknowledged_by:
            raise RefusedError(f"{row.acknowledged_by} has acknowledged it already")
        actor = request.actor.get_username()
        row.acknowledged_by, row.acknowledged_at, row.note = actor, self.flow.changes.at, note
        self.flow.changes.writes.append(row.save)
        state = "tripped" if row.tripped else "clear"
        self.flow.changes.happened(
            Happening(KIND, row.pk, state_from=state, state_to="acknowledged", actor=actor, reason=note)
        )

    # --- what is covered

    def _cover(self) -> None:
        for device in self.flow.state.devices.values():
            why = self._blocks(device)
            if why != device.interlock:
                device.interlock = why
                self._show(device)
        self.flow.plan.mark_stale()
        self.flow.plan.wanted = True
        self.flow.grants.wake_all()

    def _blocks(self, device: LiveDevice) -> str:
        """Return which tripped interlock blocks a device, or empty."""
        for name, row in self._rows.items():
            if row.tripped and _covers(self._sections[name], device):
                return f"interlock {name} is tripped: {self._sections[name].reading} was {_said(row.value)}"
        return ""


def _covers(section: InterlockSection, device: LiveDevice) -> bool:
    return bool({"lab", device.id, *device.modules} & set(section.covers))


def _said(value: Any) -> str:
    return "not known" if value is None else f"{value:g}" if isinstance(value, float | int) else str(value)
