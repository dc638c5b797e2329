"""Vials and cuvettes, and what is really in them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

ROOM_DEGC = 22.0
RATE_25 = 1 / 1800.0
ACTIVATION_J_MOL = 45_000.0
GAS_J_MOL_K = 8.314
STEP_S = 60.0


@dataclass
class Vessel:
    """A vial or a cuvette.

    Attributes
    ----------
    id : str
        Its own, e.g. ``"vial-1.4"``.
    kind : str
        ``"vial"`` or ``"cuvette"``.
    capacity_ul : float
        In µL; what is more spills.
    portions : dict of str to float
        Volume in µL of each solution that came in; concentrations stand in `World.solutions`.
    dose : float
        Progress of the reaction since the last addition: rate times time, with the temperatures it really
        had.
    elapsed_s, stirred_s : float
        Lab seconds since the last addition, and how many of these it was stirred.
    aged_at : float
        Lab time up to which the three are right.
    """

    id: str
    kind: str
    capacity_ul: float
    portions: dict[str, float] = field(default_factory=dict)
    dose: float = 0.0
    elapsed_s: float = 0.0
    stirred_s: float = 0.0
    aged_at: float = 0.0

    @property
    def volume_ul(self) -> float:
        """Total volume in µL."""
        return sum(self.portions.values())

    def add(self, solution: str, volume_ul: float) -> float:
        """Pour in, and return the volume that did not fit, in µL."""
        fits = max(0.0, min(volume_ul, self.capacity_ul - self.volume_ul))
        if fits:
            self.portions[solution] = self.portions.get(solution, 0.0) + fits
        return volume_ul - fits

    def take(self, volume_ul: float) -> dict[str, float]:
        """Take out an even sample, at most what is there; volumes in µL by solution."""
        total = self.volume_ul
        share = min(1.0, volume_ul / total) if total else 0.0
        sample = {name: share * volume for name, volume in self.portions.items()}
        self.portions = {name: volume * (1 - share) for name, volume in self.portions.items() if share < 1}
        return sample

    def restart(self, now: float) -> None:
        """Something was added: the reaction begins anew."""
        self.dose = self.elapsed_s = self.stirred_s = 0.0
        self.aged_at = now

    def empty(self, now: float) -> None:
        """Drain and rinse."""
        self.portions.clear()
        self.restart(now)

    def age(self, now: float, temperature: Callable[[float], float], stirred: bool) -> None:
        """Let the reaction go on up to ``now``, at ``temperature(lab_time)`` in °C."""
        span = now - self.aged_at
        if span <= 0:
            return
        steps = max(1, math.ceil(span / STEP_S))
        step = span / steps
        rates = (rate(temperature(self.aged_at + (index + 0.5) * step)) for index in range(min(steps, 2000)))
        self.dose += sum(rates) * step
        self.elapsed_s += span
        self.stirred_s += span if stirred else 0.0
        self.aged_at = now


def rate(temperature_degc: float) -> float:
    """Return the rate of the reaction in 1/s at a temperature in °C (Arrhenius)."""
    inverse = 1 / (temperature_degc + 273.15) - 1 / 298.15
    return RATE_25 * math.exp(-ACTIVATION_J_MOL / GAS_J_MOL_K * inverse)
