"""A guard that outlives the supervisor by a moment, and ends what a killed supervisor would leave behind.

The guard is a shell that reads which process groups are alive from a pipe. When the pipe closes, because the
supervisor has ended in whatever way, it kills the groups that are still noted, grandchildren included.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import IO, cast

_SCRIPT = """
trap '' INT TERM HUP
groups=' '
while read -r change group; do
    case $change in
        +) groups="$groups$group " ;;
        -) groups="${groups%% "$group" *} ${groups#* "$group" }" ;;
    esac
done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
"""

_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None


def die_with_parent() -> Callable[[], None] | None:
    """Return what a child runs between fork and exec so that it never outlives its parent; None where unknown."""
    if _prctl is None:
        return None
    parent, prctl = os.getpid(), _prctl

    def in_child() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return in_child


class Guard:
    """The running guard."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603
            ["/bin/sh", "-c", _SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={},
        )
        self._pipe = cast(IO[bytes], self._process.stdin)

    def note(self, group: int) -> None:
        """Kill that process group if the supervisor ends."""
        self._tell(f"+ {group}\n")

    def forget(self, group: int) -> None:
        """Take back :meth:`note`: the group has ended."""
        self._tell(f"- {group}\n")

    def close(self) -> None:
        """End the guard."""
        self._pipe.close()
        self._process.wait(timeout=10)

    def _tell(self, line: str) -> None:
        # Somebody may have killed the guard: then the kernel's signal at the parent's death has to suffice.
        with contextlib.suppress(OSError):
            os.write(self._pipe.fileno(), line.encode())
