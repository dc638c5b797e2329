"""Lab time for a scheduler that is watched closely: it moves only when it is told to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

START_S = 100.0


class JumpingClock:
    """Stands in for `modules.contract.clock.LabClock`; `time_s` may be set."""

    scale = 1.0

    def __init__(self) -> None:
        self.time_s = START_S

    def now(self) -> float:
        """Return the lab time."""
        return self.time_s

    def sleep(self, lab_seconds: float) -> None:
        """Let time pass."""
        self.time_s += lab_seconds

    def datetime(self, lab_s: float) -> datetime:
        """Return a date for a lab time."""
        return datetime(2026, 6, 1, tzinfo=UTC) + timedelta(seconds=lab_s)

    def real_seconds(self, lab_seconds: float) -> float:
        """Return what a real lab would take."""
        return lab_seconds
