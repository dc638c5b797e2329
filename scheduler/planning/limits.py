"""How long a planner may think, and how it is told to stop.

A wall or CPU limit makes a plan depend on the machine. A deterministic limit does not: it counts work
(placements in the table, the solver's deterministic time), so the same seed and limit give the same plan,
byte for byte.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

PLACEMENTS_PER_UNIT = 60_000
"""Table placements that count as one unit of deterministic work, roughly one CPU second."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on the effort of one call; the first that is reached ends it.

    Attributes
    ----------
    wall, cpu
        Seconds of elapsed and of process time.
    deterministic
        Units of counted work.
    workers
        Threads of the solver.
    patience
        Stop after this much without improvement: units of work if `deterministic` is set, else seconds of
        process time if `cpu` is, else of wall time. `None` never.
    stop
        Called now and then; true ends the search at once with the best plan so far.
    """

    wall: float | None = None
    cpu: float | None = None
    deterministic: float | None = None
    workers: int = 2
    patience: float | None = None
    stop: Callable[[], bool] | None = None

    @property
    def bounded(self) -> bool:
        """Whether anything ends the search."""
        return any(limit is not None for limit in (self.wall, self.cpu, self.deterministic))


@dataclass(slots=True)
class Clock:
    """Measures one call against its limits."""

    limits: Limits
    work: int = 0
    wall_start: float = field(default_factory=time.monotonic)
    cpu_start: float = field(default_factory=time.process_time)
    better_at: float = 0.0

    def used(self) -> float:
        """Return what is used up of the limit that counts for patience."""
        if self.limits.deterministic is not None:
            return self.work / PLACEMENTS_PER_UNIT
        if self.limits.cpu is not None:
            return time.process_time() - self.cpu_start
        return self.elapsed()

    def better(self) -> None:
        """Note an improvement."""
        self.better_at = self.used()

    def spent(self) -> float:
        """Return the greatest fraction of any limit that is used up; 1 or more means stop."""
        limits, most = self.limits, 0.0
        if limits.deterministic is not None:
            most = self._part(self.work / PLACEMENTS_PER_UNIT, limits.deterministic)
        if limits.wall is not None:
            most = max(most, self._part(time.monotonic() - self.wall_start, limits.wall))
        if limits.cpu is not None:
            most = max(most, self._part(time.process_time() - self.cpu_start, limits.cpu))
        return most

    @staticmethod
    def _part(used: float, limit: float) -> float:
        return used / limit if limit > 0 else 1.0

    def over(self) -> bool:
        """Whether to stop now."""
        if self.limits.stop is not None and self.limits.stop():
            return True
        patience = self.limits.patience
        if patience is not None and self.used() - self.better_at >= patience:
            return True
        return self.spent() >= 1.0

    def elapsed(self) -> float:
        """Return the seconds of wall time since the start."""
        return time.monotonic() - self.wall_start
