"""One attempt: what it was asked to do, what it has done so far, and how it ends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modules.contract.clock import Clock
from modules.contract.messages import Attempt, AttemptState, Order, OrderedStep
from octolab.ids import new_id

from .guard import Guard, readable
from .interruptions import CommandRefused, Interruptions
from .journal import Journal, JournalError
from .live import Live
from .packages import Module
from .rack import Rack
from .recorder import Recorder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Bench:
    """What attempts need of their host."""

    host: str
    incarnation: str
    clock: Clock
    journal: Journal
    guard: Guard
    rack: Rack
    live: Live
    data_root: Path
    before_motion: Callable[[], None] = lambda: None
    """Waits, if need be, until it is known which attempts are still this host's."""
    interlocked: Callable[[str, Iterable[str]], str] = lambda module, devices: ""
    """Tells which interlock, tripped by the last reading, covers a module or one of these devices."""


class AttemptRun:
    """One attempt on this host, from its claim to its close."""

    def __init__(self, bench: Bench, module: Module, order: Order) -> None:
        self.bench = bench
        self.module = module
        self.order = order
        self.attempt_id = order.attempt_id
        self.nonce = new_id().hex
        self.interruptions = Interruptions()
        self.step: OrderedStep = order.steps[0]
        self.devices = all_devices(order)
        self.claimed_lab_s: float | None = None
        self.started_lab_s: float | None = None
        self.first_command_lab_s: float | None = None
        self.step_ends_lab_s: dict[str, float] = {}
        self.touched = False
        self.last_command = ""
        self.broken: dict[str, str] = {}
        self.revoked = False
        self.interlocked = ""
        self._intended_in: str | None = None
        origin = {"host": bench.host, "incarnation": bench.incarnation}
        self.recorder = Recorder(bench.journal, order, module.manifest.task(order.task), bench.data_root, origin)

    # ------------------------------------------------------------------ the device layer asks

    def before_query(self, device: str) -> None:
        """Raise if the attempt was halted."""
        if (halted := self.interruptions.halted) is not None and not self.interruptions.emergency:
            raise halted

    def before_motion(self, device: str, data: bytes) -> None:
        """Note a command that moves something, on disk before it is sent.

        Before the first command of an action, and before each one if the action must not be repeated.
        """
        if (halted := self.interruptions.halted) is not None:
            raise halted
        command = f"{device}: {readable(data)}"
        if not self.touched:
            self.check_interlocks(command)
        if self.step.devices.get(device) != "use":
            raise CommandRefused(
                f"{command} was not sent: step {self.step.name!r} does not use {device}. "
                "Name it as `use` in the step's devices."
            )
        lab_s = self.bench.clock.now()
        if self._intended_in != self.step.step_id or not self.repeat_safe:
            intent = {"k": "intent", "id": self.attempt_id, "command": command, "lab_s": lab_s}
            try:
                self.bench.journal.write(intent)
            except JournalError as error:
                raise CommandRefused(f"{command} was not sent: {error}") from error
            self._intended_in = self.step.step_id
        # The very last thing, so that a standstill at any point before it is noticed.
        self.bench.before_motion()
        if (halted := self.interruptions.halted) is not None:
            raise halted
        if self.first_command_lab_s is None:
            self.first_command_lab_s = lab_s
        self.last_command = command
        self.touched = True

    def check_interlocks(self, what: str) -> None:
        """Raise if an interlock forbids to begin: the last reading counts, whatever the server knows of it yet."""
        if reason := self.bench.interlocked(self.order.module, self.devices):
            self.interlocked = reason
            raise CommandRefused(f"{what} was not sent: {reason}. It waits until the interlock is clear.")

    @property
    def repeat_safe(self) -> bool:
        """Whether doing the present action twice is the same as doing it once."""
        return self.module.manifest.action(self.step.action).repeat_safe

    # ------------------------------------------------------------------ pausing

    def wait_while_paused(self, on_pause: Callable[[], None] = lambda: None) -> None:
        """Block as long as a pause is asked for, and let the server know."""

        def note() -> None:
            self.journal_paused(True)
            on_pause()

        if self.interruptions.wait_while_paused(note):
            self.journal_paused(False)

    # ------------------------------------------------------------------ records

    def claim_record(self) -> dict[str, Any]:
        """Return the attempt record whose insert is the claim."""
        return self._record(state="claimed", claimed_lab_s=self.claimed_lab_s)

    def refusal_record(self, error: str) -> dict[str, Any]:
        """Return the attempt record that closes a refused order; nothing was touched."""
        outcomes = tuple(self.recorder.outcomes(error))
        emergency, now_s = bool(self.interruptions.emergency), self.bench.clock.now()
        return self._record(state="failed", error=error, outcomes=outcomes, ended_lab_s=now_s, emergency=emergency)

    def _record(self, **fields: Any) -> dict[str, Any]:
        attempt = Attempt(
            attempt_id=self.attempt_id,
            nonce=self.nonce,
            host=self.bench.host,
            incarnation=self.bench.incarnation,
            module=self.order.module,
            step_ids=tuple(step.step_id for step in self.order.steps),
            **fields,
        )
        return {"_id": self.attempt_id, **attempt.model_dump(mode="json")}

    def journal_claim(self) -> None:
        """Note the claim; it is on disk before any command, because the intent comes after it."""
        self.bench.journal.append({"k": "claim", "id": self.attempt_id, "nonce": self.nonce})

    def journal_running(self) -> None:
        """Note that the first action is about to be entered."""
        self.started_lab_s = self.bench.clock.now()
        changes = {"state": "running", "started_lab_s": self.started_lab_s}
        self.bench.journal.append({"k": "running", "id": self.attempt_id, "nonce": self.nonce, "changes": changes})

    def journal_paused(self, paused: bool) -> None:
        """Note that the action stands at a safe point, or goes on."""
        changes = {"state": "running", "started_lab_s": self.started_lab_s, "paused": paused}
        self.bench.journal.append({"k": "running", "id": self.attempt_id, "nonce": self.nonce, "changes": changes})

    def journal_close(self, state: AttemptState, error: str, reason: str, ended_lab_s: float) -> None:
        """Note how the attempt ended, on disk. This record, once shipped, is the one commit point."""
        failed = error or (reason if state != "completed" else "")
        changes = {
            "state": state,
            # What an interlock kept from its first command has not begun: it is ordered again, and nothing is lost.
            "started_lab_s": None if self.interlocked and not self.touched else self.started_lab_s,
            "first_command_lab_s": self.first_command_lab_s,
            "ended_lab_s": ended_lab_s,
            "step_ends_lab_s": self.step_ends_lab_s,
            "touched": self.touched,
            "last_command": self.last_command,
            "outcomes": [outcome.model_dump(mode="json") for outcome in self.recorder.outcomes(failed)],
            "error": error,
            "reason": reason,
            "broken": self.broken,
            "emergency": bool(self.interruptions.emergency),
            "paused": False,
        }
        journal = self.bench.journal
        number = journal.append({"k": "close", "id": self.attempt_id, "nonce": self.nonce, "changes": changes})
        # The shipper syncs too, but may be waiting for a store that hangs. With a full disk it goes on from memory.
        with suppress(JournalError):
            journal.sync(number)


def all_devices(order: Order) -> dict[str, Any]:
    """Return the devices that an order holds from its start to its end; *use* in one step is *use* for all."""
    devices: dict[str, Any] = {}
    for step in order.steps:
        for device, mode in step.devices.items():
            if devices.get(device) != "use":
                devices[device] = mode
    return devices
