"""The simulation's time."""

from __future__ import annotations

import time

from modules.drivers.clock import Clock

__all__ = ["Clock", "ScaledClock"]


class ScaledClock:
    """Lab time that runs ``scale`` times as fast as real time, from ``start``.

    Parameters
    ----------
    scale : float, optional
        Lab seconds per real second.
    start : float, optional
        Lab seconds now.
    """

    def __init__(self, scale: float = 1.0, start: float = 0.0) -> None:
        if scale <= 0:
            raise ValueError(f"a clock's scale must be positive, not {scale:g}")
        self.scale = scale
        self._start = start
        self._origin = time.monotonic()

    def now(self) -> float:
        """Return lab seconds."""
        return self._start + (time.monotonic() - self._origin) * self.scale

    def sleep(self, seconds: float) -> None:
        """Block for ``seconds`` of lab time."""
        time.sleep(max(0.0, seconds) / self.scale)
