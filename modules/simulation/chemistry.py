"""Silver nanoplates: from what is in the vial to the plasmon it shows.

Not a simulation of growth but a smooth law with the right trends: more silver on the same reductant makes
larger plates and shifts the peak to the red; peroxide etches the thin seeds away and citrate guards the
plates' faces, each with a best amount; the reaction needs time and warmth; stirring makes the sizes alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SPHERES_NM = 395.0
PLATES_SPAN_NM = 360.0
HALF_AT = 0.5
STEEPNESS = 2.2
# amounts per mole of NaBH4 in the published recipe, in which AgNO3 is varied from a twelfth to all of SILVER
SILVER, CITRATE, PEROXIDE = 0.05, 0.8, 15.0
FULL_SILVER = 1 / (1 + HALF_AT**STEEPNESS)


@dataclass(frozen=True)
class Recipe:
    """What reached a vessel.

    Attributes
    ----------
    amounts_umol : mapping of str to float
        µmol of ``agno3``, ``citrate``, ``h2o2`` and ``nabh4``.
    volume_ul : float
        Total volume in µL.
    dose : float
        Reaction rate times time since the last addition; about 4 after 7200 s at 25 °C.
    evenness : float
        Share of that time in which it was stirred, 0 … 1.
    """

    amounts_umol: Mapping[str, float] = field(default_factory=dict)
    volume_ul: float = 0.0
    dose: float = 0.0
    evenness: float = 0.0


@dataclass(frozen=True)
class Plasmon:
    """A peak: position and full width at half maximum in nm, height in absorbance at 1 cm; plates 0 … 1."""

    peak_nm: float = SPHERES_NM
    fwhm_nm: float = 60.0
    height: float = 0.0
    plates: float = 0.0
    silver_mm: float = 0.0


def plasmon(recipe: Recipe) -> Plasmon:
    """Return the peak of what a recipe makes; height 0 without silver or without reductant."""
    amounts = recipe.amounts_umol
    silver, hydride = amounts.get("agno3", 0.0), amounts.get("nabh4", 0.0)
    if silver <= 0 or hydride <= 0 or recipe.volume_ul <= 0:
        return Plasmon()
    progress = 1 - math.exp(-recipe.dose)
    load = silver / hydride / SILVER
    growth = load**STEEPNESS / (load**STEEPNESS + HALF_AT**STEEPNESS) / FULL_SILVER
    etching = _best_at(amounts.get("h2o2", 0.0) / hydride / PEROXIDE)
    guarding = _best_at(amounts.get("citrate", 0.0) / hydride / CITRATE)
    plates = growth * etching * guarding * progress
    millimolar = 1000.0 * silver / recipe.volume_ul
    reduced = progress * (1 - math.exp(-6.0 / load))
    strength = 14.0 / (1 + 2.1 * plates)
    disorder = 1.6 - 0.6 * min(1.0, recipe.evenness / 0.8)
    return Plasmon(
        peak_nm=SPHERES_NM + PLATES_SPAN_NM * plates,
        fwhm_nm=(58.0 + 92.0 * plates) * disorder * (1.25 - 0.25 * etching),
        height=strength * millimolar * reduced / disorder,
        plates=plates,
        silver_mm=millimolar * reduced,
    )


def _best_at(ratio: float) -> float:
    """Return 1 at the best ratio, falling smoothly towards less and more; 0 at nothing."""
    return 0.0 if ratio <= 0 else math.exp(-0.5 * (math.log(ratio) / 1.1) ** 2)


def absorbance(wavelengths: Array, recipe: Recipe) -> Array:
    """Return the decadic absorbance at 1 cm of a recipe.

    Parameters
    ----------
    wavelengths : numpy.ndarray
        In nm, shape ``(n,)``.
    recipe : Recipe
        What is in the beam.

    Returns
    -------
    numpy.ndarray
        Shape ``(n,)``; zero for a blank.
    """
    peak = plasmon(recipe)
    if peak.height <= 0:
        return np.zeros_like(wavelengths)
    offset = (wavelengths - peak.peak_nm) / (peak.fwhm_nm / 2)
    shape = 0.55 / (1 + offset**2) + 0.45 * np.exp(-math.log(2) * offset**2)
    out_of_plane = 0.1 * peak.plates * np.exp(-(((wavelengths - 338.0) / 14.0) ** 2))
    interband = 0.9 * peak.silver_mm * np.exp(-(wavelengths - 300.0) / 14.0)
    scattering = 0.15 * peak.silver_mm * peak.plates * (400.0 / wavelengths) ** 4
    return np.asarray(peak.height * (shape + out_of_plane) + interband + scattering)
