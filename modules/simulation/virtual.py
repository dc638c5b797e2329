"""Simulated virtual devices: busy for a time, then done, or failed if asked to."""

from __future__ import annotations

from functools import partial
from typing import Any

from modules.simulation.cutters import Cutter, LineCutter
from modules.simulation.instrument import SimulatedInstrument


class SimulatedVirtual(SimulatedInstrument):
    """One of any number of devices on a line. Cheap: one log line per command, no snapshot."""

    saved = False

    def __init__(self, lab: Any, section: Any) -> None:
        super().__init__(lab, section)
        self.runs = 0
        self._running: tuple[str, str] | None = None
        self._stalled = False

    @classmethod
    def cutter(cls) -> Cutter:
        """Lines."""
        return LineCutter()

    @classmethod
    def key_of(cls, command: bytes) -> str | None:
        """The third word is the device; without one, whichever is first answers."""
        words = command.split()
        return words[2].decode("latin-1") if len(words) > 2 else None

    @property
    def bus_key(self) -> str | None:
        """Its id."""
        return self.id

    def execute(self, command: bytes) -> None:
        """``RUN``, ``STATE``, ``HALT``, ``ID`` and ``STATUS``."""
        words = command.decode("latin-1").split()
        number, verb = words[0], (words[1].upper() if len(words) > 1 else "")
        refusal = ""
        if verb == "RUN":
            refusal = self._run(number, words[3:])
        elif verb == "HALT":
            self._conclude("stopped")
        elif verb not in ("STATE", "STATUS", "ID"):
            refusal = f"unknown no command {verb}"
        self.log(command, verb, accepted=not refusal, moves=verb == "RUN")
        if refusal:
            self.answer(f"{number} ERR {refusal}\n".encode())
        elif verb == "ID":
            self.answer(f"{number} OK model=octolab-virtual serial={self.id}\n".encode())
        else:
            state = "moving" if self._running else "idle"
            self.answer(f"{number} OK state={state} runs={self.runs}\n".encode())

    def _run(self, number: str, words: list[str]) -> str:
        if self._running:
            return "busy a run is under way"
        try:
            seconds = float(words[0])
            factor = next((float(w.partition("=")[2]) for w in words[1:] if w.startswith("overrun=")), 1.0)
        except (IndexError, ValueError):
            return "bad_arguments RUN device seconds"
        self.runs += 1
        run = (number, "fail" if "fail" in words else "")
        self._running = run
        self._stalled = False
        if not self.faults.take("stall"):
            self.lab.loop.at(self.now + seconds * factor, partial(self._due, run))
        return ""

    def _due(self, run: tuple[str, str]) -> None:
        if self._running is run and not self._stalled:
            self._conclude(run[1])

    def _conclude(self, failure: str) -> None:
        run, self._running = self._running, None
        if run is not None:
            outcome = f"FAILED {'as asked' if failure == 'fail' else failure}" if failure else "DONE"
            self.answer(f"{run[0]} {outcome}\n".encode())

    def stall(self) -> None:
        """Let the run under way, or the next, never end."""
        if self._running:
            self._stalled = True
        else:
            self.faults.set("stall", 1)

    def power_on(self) -> None:
        """Forget the run."""
        self._running = None
