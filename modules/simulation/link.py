"""A pty that looks like an instrument's serial port, at a path that stays the same."""

from __future__ import annotations

import contextlib
import os
import pty
import tty
from collections.abc import Callable
from pathlib import Path

from modules.simulation.loop import Loop


class PtyLink:
    """One end of a serial cable.

    The other end is opened here too, so that clients may come and go without the line breaking.

    Parameters
    ----------
    path : pathlib.Path
        Where clients find it: a symbolic link to the pty.
    loop : Loop
        Waits for bytes.
    hear : callable
        Gets the bytes.
    """

    def __init__(self, path: Path, loop: Loop, hear: Callable[[bytes], None]) -> None:
        self.path = path
        self._loop = loop
        self._hear = hear
        self._ours = self._theirs = -1

    @property
    def plugged(self) -> bool:
        """True while the pty exists."""
        return self._ours >= 0

    def plug(self) -> None:
        """Make the pty and point the link at it."""
        if self.plugged:
            return
        self._ours, self._theirs = pty.openpty()
        tty.setraw(self._theirs)
        os.set_blocking(self._ours, False)
        fresh = self.path.with_name(f".{self.path.name}.new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(os.ttyname(self._theirs))
        fresh.replace(self.path)
        self._loop.watch(self._ours, self._read)

    def unplug(self) -> None:
        """Take the pty away under its clients, as if the cable was pulled."""
        if not self.plugged:
            return
        self._loop.unwatch(self._ours)
        self.path.unlink(missing_ok=True)
        ours, theirs, self._ours, self._theirs = self._ours, self._theirs, -1, -1
        os.close(ours)
        os.close(theirs)

    def write(self, data: bytes) -> None:
        """Send bytes; what nobody reads is lost, as on a real line."""
        if self.plugged:
            with contextlib.suppress(BlockingIOError):
                os.write(self._ours, data)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._hear(os.read(self._ours, 65536))
