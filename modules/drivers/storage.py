"""Vial storage whose lines open one at a time: plain line protocol.

Verbs: ``OPEN <line>``, ``CLOSE``; ``STATUS`` adds ``open``, the line that is open (0: none) and ``lines``.
"""

from __future__ import annotations

from modules.drivers.clock import Clock
from modules.drivers.layout import STORAGE_LINES
from modules.drivers.line import LineDevice
from modules.drivers.port import SerialPort

MOTION_LIMIT_S = 60.0


class VialStorage(LineDevice):
    """The storage.

    Parameters
    ----------
    name, port, clock
        See `SerialDevice`.
    lines : int, optional
        How many lines it has.
    """

    model = "octolab-storage"

    def __init__(self, name: str, port: SerialPort, *, clock: Clock | None = None, lines: int = STORAGE_LINES) -> None:
        super().__init__(name, port, clock=clock)
        self.lines = lines

    def open_line(self, line: int) -> None:
        """Bring a line (1 …) to the front; the one that was open closes.

        Raises
        ------
        ValueError
            There is no such line.
        DeviceError
        """
        if not 1 <= line <= self.lines:
            raise ValueError(f"{self.name}: has lines 1 to {self.lines}, not {line}")
        self._move("OPEN", line, limit=MOTION_LIMIT_S)

    def close_line(self) -> None:
        """Close whatever is open."""
        self._move("CLOSE", limit=MOTION_LIMIT_S)

    def open_now(self) -> int:
        """Return the line that is open, 0 for none."""
        return int(self._query("STATUS").get("open", "0"))
