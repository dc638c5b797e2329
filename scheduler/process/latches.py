"""The emergency stop as the scheduler sees it: nothing is granted in its scope, and the log tells of it.

The web process writes latches without asking anybody; each trip and re-arm is also kept in a collection of its own,
from which the event log is written here, however late that is.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from scheduler.events import Happening
from scheduler.models import Event
from scheduler.process.bench import Bench
from scheduler.process.flow import Flow
from users.audit import note

KIND = "estop"


class Latches:
    """Reads the latches, and notes what is new."""

    def __init__(self, flow: Flow, bench: Bench) -> None:
        self.flow = flow
        self.bench = bench
        self._told: dict[str, int] = {}
        """Scope → serial of the last trip or re-arm that stands in the event log."""

    def look(self) -> dict[str, str]:
        """Return the scopes whose emergency stop is tripped, with the reason.

        Raises
        ------
        AwayError
            If the store cannot be read.
        """
        latches = self.bench.latches()
        for latch in latches:
            self._tell(latch["scope"], int(latch["serial"]))
        tripped = {latch["scope"]: _reason(latch) for latch in latches if latch["tripped"]}
        if set(tripped) != self.flow.state.estopped:
            self.flow.state.estopped = set(tripped)
            self.flow.plan.mark_stale()
            self.flow.grants.wake_all()
        return tripped

    def _tell(self, scope: str, serial: int) -> None:
        if scope not in self._told:
            self._told[scope] = _last_told(scope)
        if self._told[scope] >= serial:
            return
        for latch in self.bench.latch_log(scope, self._told[scope]):
            new = "tripped" if latch["tripped"] else "armed"
            old = "armed" if latch["tripped"] else "tripped"
            data = {"serial": latch["serial"], "at": latch["at"]}
            self.flow.changes.happened(
                Happening(KIND, scope, None, None, old, new, latch["actor"], latch.get("reason") or "", data)
            )
            if latch["tripped"]:
                # A person's trip is noted here too: it went to the hosts without waiting for the database.
                said = {"reason": latch.get("reason") or "", "serial": latch["serial"]}
                self.flow.changes.last.append(partial(note, "estop.trip", scope, actor=latch["actor"], **said))
        self._told[scope] = serial


def _last_told(scope: str) -> int:
    event = Event.objects.filter(kind=KIND, subject=scope).order_by("-seq").first()
    return int(event.data["serial"]) if event is not None else 0


def _reason(latch: dict[str, Any]) -> str:
    return f"emergency stop by {latch.get('actor', '')}: {latch.get('reason', '')}".rstrip(": ")
