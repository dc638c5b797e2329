"""``commands.jsonl``: what reached the instruments, and what went wrong in the world.

One JSON object per line, appended with a single write each, so that the file stays whole whoever is killed.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from modules.simulation.clock import Clock


class CommandLog:
    """Appends to the log.

    Parameters
    ----------
    path : pathlib.Path
        The file; made if it is not there, never shortened.
    clock : Clock
        Lab time.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self._clock = clock
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def write(self, kind: str, instrument: str, **fields: Any) -> None:
        """Append a line.

        Parameters
        ----------
        kind : str
            ``command``, ``incident``, ``fault``, ``reboot``, ``spill`` or ``start``.
        instrument : str
            Its id, or an empty string.
        **fields
            For a command: ``text``, ``verb``, ``accepted``, ``moves``, and ``executed`` where that differs
            from ``accepted``.
        """
        line = {
            "kind": kind,
            "instrument": instrument,
            "lab_time": round(self._clock.now(), 4),
            "monotonic": round(time.monotonic(), 6),
            **fields,
        }
        os.write(self._fd, json.dumps(line, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def readable(data: bytes) -> str:
    """Return raw bytes as text, control characters escaped."""
    return data.decode("latin-1").encode("unicode_escape").decode()
