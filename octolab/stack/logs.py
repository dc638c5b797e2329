"""One log file per process, rotating, and one for the supervisor itself."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from logging.handlers import RotatingFileHandler
from pathlib import Path

MAX_BYTES = 5_000_000
KEPT_FILES = 3


class _LossyFile(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Lose the line: while the disk is full the process's output must still be read, or it would block."""


class ProcessLog:
    """Takes a process's output as it comes, keeps it in a rotating file, and remembers the last lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = _LossyFile(path, maxBytes=MAX_BYTES, backupCount=KEPT_FILES, encoding="utf-8", delay=True)
        self._tail: deque[str] = deque(maxlen=15)
        self._unfinished = b""

    def write(self, data: bytes) -> None:
        """Add output."""
        *lines, self._unfinished = (self._unfinished + data).split(b"\n")
        if len(self._unfinished) > 65536:
            lines.append(self._unfinished)
            self._unfinished = b""
        for line in lines:
            self._add(line)

    def end(self) -> None:
        """Write what the process left without a line's end."""
        if self._unfinished:
            self._add(self._unfinished)
            self._unfinished = b""

    def tail(self) -> str:
        """Return the last lines, for a message about what went wrong."""
        return "\n".join(self._tail)

    def close(self) -> None:
        """Close the file."""
        self.end()
        with contextlib.suppress(OSError):
            self._file.close()

    def _add(self, line: bytes) -> None:
        text = line.decode("utf-8", errors="replace").rstrip("\r")
        self._tail.append(text)
        self._file.emit(logging.makeLogRecord({"msg": text, "args": ()}))
