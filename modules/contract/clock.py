"""Lab time: the time in which plans, dwells and simulated instruments live.

One document in the ``clock`` collection anchors it: at the monotonic time ``monotonic_s`` of boot ``boot_id``
(and wall time ``wall_s``) it was ``lab_s`` seconds after ``epoch``, and it runs ``scale`` lab seconds per real
second. Processes on the machine that set the anchor count by the monotonic clock they share, so a stepped
system clock changes nothing; processes elsewhere, and any process after a reboot, start from wall time once
and count monotonically from there.

A simulated lab stops with its stack and resumes where it stopped (:func:`resume`), so that no simulated dwell
ends while nothing ran. A real lab (scale 1) never stops.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

CLOCK_ID = "lab"


class Clock(Protocol):
    """What everything that waits in lab time needs."""

    scale: float

    def now(self) -> float:
        """Return lab seconds since the lab's epoch."""
        ...

    def sleep(self, lab_seconds: float) -> None:
        """Wait for that many lab seconds."""
        ...


class Anchor(BaseModel):
    """The persisted anchor of lab time."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    boot_id: str
    monotonic_s: float
    wall_s: float
    lab_s: float
    scale: float
    epoch: datetime
    """UTC date and time of lab second 0."""


def boot_id() -> str:
    """Return what identifies this boot of this machine: processes that share it share a monotonic clock."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else f"node-{time.time() - time.monotonic():.0f}"


class LabClock:
    """Lab time, counted from an anchor."""

    def __init__(self, anchor: Anchor) -> None:
        self.anchor = anchor
        self.scale = anchor.scale
        if anchor.boot_id == boot_id():
            self._monotonic_s, self._lab_s = anchor.monotonic_s, anchor.lab_s
        else:
            self._monotonic_s = time.monotonic()
            self._lab_s = anchor.lab_s + (time.time() - anchor.wall_s) * anchor.scale

    @classmethod
    def starting_now(cls, scale: float = 1.0, lab_s: float = 0.0, epoch: datetime | None = None) -> LabClock:
        """Return a clock that shows ``lab_s`` now."""
        wall_s = time.time()
        return cls(
            Anchor(
                boot_id=boot_id(),
                monotonic_s=time.monotonic(),
                wall_s=wall_s,
                lab_s=lab_s,
                scale=scale,
                epoch=epoch or datetime.fromtimestamp(wall_s - lab_s, UTC),
            )
        )

    def now(self) -> float:
        """Return lab seconds since the lab's epoch."""
        return self._lab_s + (time.monotonic() - self._monotonic_s) * self.scale

    def sleep(self, lab_seconds: float) -> None:
        """Wait for that many lab seconds."""
        if lab_seconds > 0:
            time.sleep(lab_seconds / self.scale)

    def real_seconds(self, lab_seconds: float) -> float:
        """Convert a lab duration to real seconds."""
        return lab_seconds / self.scale

    def datetime(self, lab_s: float) -> datetime:
        """Return the lab's date and time (UTC) at a lab second."""
        return self.anchor.epoch + timedelta(seconds=lab_s)


def attach(database: Any) -> LabClock:
    """Return the lab's clock as anchored in the document store.

    Raises
    ------
    LookupError
        If no anchor exists yet: ``manage.py prepare_lab`` sets it.
    """
    document = database["clock"].find_one({"_id": CLOCK_ID})
    if document is None:
        raise LookupError("the lab has no clock yet: run `manage.py prepare_lab` first")
    return LabClock(Anchor.model_validate(document["anchor"]))


def resume(database: Any, scale: float, *, simulated: bool, at_least_s: float = 0.0) -> LabClock:
    """Anchor lab time at the start of the stack, and return the clock.

    A simulated lab continues at the last lab second that :func:`remember` saw, at the given scale, but not before
    ``at_least_s``: the last one of which there is a record. A real lab keeps its first anchor for ever. Only call this
    while no other process of the lab runs.
    """
    document = database["clock"].find_one({"_id": CLOCK_ID})
    if document is None:
        clock = LabClock.starting_now(scale)
    elif simulated:
        old = Anchor.model_validate(document["anchor"])
        clock = LabClock.starting_now(scale, max(_seen_lab_s(document), at_least_s), old.epoch)
    else:
        clock = LabClock(Anchor.model_validate(document["anchor"]))
    database["clock"].update_one(
        {"_id": CLOCK_ID},
        {"$set": {"anchor": clock.anchor.model_dump(mode="json"), "seen_lab_s": clock.now()}},
        upsert=True,
    )
    return clock


def _seen_lab_s(document: dict[str, Any]) -> float:
    """Return the last lab second that was seen, whether it was written by :func:`remember` or by a DocumentStore."""
    seen = document["seen_lab_s"]
    return float(seen["__value__"] if isinstance(seen, dict) else seen)


def remember(database: Any, clock: LabClock) -> None:
    """Note the present lab second, so that a simulated lab can resume from it. Called once a second."""
    database["clock"].update_one({"_id": CLOCK_ID}, {"$set": {"seen_lab_s": clock.now()}})
