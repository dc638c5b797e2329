"""The hotplate's body: warms slowly, spins up quickly. Exact at any time, without steps."""

from __future__ import annotations

import math
from dataclasses import dataclass

from modules.simulation.vessels import ROOM_DEGC

LAG_S = 180.0
RPM_PER_S = 600.0


@dataclass
class Plate:
    """Temperature and speed as functions of lab time.

    Attributes
    ----------
    heating, stirring : bool
        Whether heater and motor are on.
    set_degc, set_rpm : float
        Set points.
    """

    heating: bool = False
    stirring: bool = False
    set_degc: float = 25.0
    set_rpm: float = 0.0
    from_degc: float = ROOM_DEGC
    from_rpm: float = 0.0
    heat_since: float = 0.0
    stir_since: float = 0.0

    def temperature(self, when: float) -> float:
        """Return °C at a lab time not before the last change: first-order lag towards set point or room."""
        target = max(self.set_degc, ROOM_DEGC) if self.heating else ROOM_DEGC
        return target + (self.from_degc - target) * math.exp(-max(0.0, when - self.heat_since) / LAG_S)

    def speed(self, when: float) -> float:
        """Return rpm at a lab time not before the last change: a ramp."""
        target = self.set_rpm if self.stirring else 0.0
        reach = RPM_PER_S * max(0.0, when - self.stir_since)
        return target - math.copysign(max(0.0, abs(target - self.from_rpm) - reach), target - self.from_rpm)

    def heat(self, now: float, *, on: bool, set_degc: float) -> None:
        """Change heater or set point."""
        self.from_degc, self.heat_since = self.temperature(now), now
        self.heating, self.set_degc = on, set_degc

    def stir(self, now: float, *, on: bool, set_rpm: float) -> None:
        """Change motor or set point."""
        self.from_rpm, self.stir_since = self.speed(now), now
        self.stirring, self.set_rpm = on, set_rpm
