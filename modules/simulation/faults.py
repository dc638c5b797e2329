"""Faults on request.

===========
===================================================================================================== silence
commands are not heard garbage     answers are replaced by noise slow        answers come ``seconds`` (real)
late drop        commands are carried out, but their answers are lost stall       a motion never ends: the one
under way, or the next unplug      the port vanishes, until ``replug`` reboot      the instrument starts anew:
what it was doing ends, what it keeps in memory is lost clear       ends silence, garbage, slow, drop and
stall ===========
=====================================================================================================

``count`` limits silence, garbage, slow, drop and stall to so many commands or answers.
"""

from __future__ import annotations

import math

LASTING = ("silence", "garbage", "slow", "drop", "stall")
MOMENTARY = ("unplug", "replug", "reboot", "clear")


class Faults:
    """The faults of one instrument."""

    def __init__(self) -> None:
        self._left: dict[str, float] = {}
        self.seconds = 0.0

    def set(self, kind: str, count: int | None = None, seconds: float = 0.0) -> None:
        """Begin a lasting fault."""
        self._left[kind] = math.inf if count is None else count
        if kind == "slow":
            self.seconds = seconds

    def clear(self) -> None:
        """End them all."""
        self._left.clear()

    def take(self, kind: str) -> bool:
        """Return whether the fault strikes now, and count it."""
        left = self._left.get(kind, 0)
        if left <= 0:
            return False
        self._left[kind] = left - 1
        return True
