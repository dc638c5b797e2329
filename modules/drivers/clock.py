"""Lab time as drivers and simulated instruments see it."""

from __future__ import annotations

import time
from typing import Protocol, runtime_checkable


@runtime_checkable
class Clock(Protocol):
    """A source of lab time.

    Motions, dwells and poll intervals are given in lab seconds. Answers on a wire, and everything else that
    depends on this computer rather than on the experiment, are given in real seconds.
    """

    @property
    def scale(self) -> float:
        """Lab seconds per real second, e.g. ``600.0``; 1 in a real lab."""
        ...

    def now(self) -> float:
        """Return lab seconds since the clock's origin, e.g. ``7211.4``; never goes back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Block for ``seconds`` of lab time."""
        ...


class RealClock:
    """Lab time that is real time: what a driver uses when it is given no clock."""

    scale = 1.0

    def now(self) -> float:
        """Return the monotonic clock in seconds."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Block for ``seconds``."""
        time.sleep(seconds)
