"""The simulated vial storage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modules.drivers.layout import STORAGE_LINES
from modules.simulation.instrument import LineInstrument, Motion, Refusal

if TYPE_CHECKING:
    from modules.simulation.lab import SimulatedLab

LINE_S = 11.4


class SimulatedStorage(LineInstrument):
    """Opens one line at a time."""

    model = "octolab-storage"

    def __init__(self, lab: SimulatedLab, section: Mapping[str, Any]) -> None:
        super().__init__(lab, section)
        self.lines = int(self.settings.get("lines", STORAGE_LINES))
        self.verbs |= {"OPEN": (self.open, True), "CLOSE": (self.close, True)}

    def status(self) -> dict[str, Any]:
        """Add the open line."""
        return super().status() | {"open": self.world.open_line, "lines": self.lines}

    def open(self, line: str) -> dict[str, Any]:
        """``OPEN <line>``."""
        if not 1 <= int(line) <= self.lines:
            raise Refusal("no_line", f"there is no line {line}")
        return self._turn("OPEN", int(line))

    def close(self) -> dict[str, Any]:
        """``CLOSE``."""
        return self._turn("CLOSE", 0)

    def _turn(self, verb: str, line: int) -> dict[str, Any]:
        if other := self.claim("storage"):
            raise Refusal("collision", f"{other} reaches into the storage", incident=True)
        seconds = 0.1 if self.world.open_line == line else LINE_S
        if self.world.open_line != line:
            self.world.open_line = 0
        self.begin(verb, seconds, line=line)
        return {}

    def finish(self, motion: Motion) -> None:
        """The line is open, or all are closed."""
        super().finish(motion)
        self.world.open_line = motion.details["line"]
