"""The strongest peak of a spectrum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks, peak_widths


@dataclass(frozen=True)
class Peak:
    """A peak: position and full width at half its height in nm, height in absorbance."""

    nm: float
    fwhm_nm: float
    height: float


def strongest_peak(
    wavelengths_nm: NDArray[np.float64], absorbance: NDArray[np.float64], *, prominence: float, width_nm: float
) -> Peak | None:
    """Return the most prominent peak, None if there is none.

    Parameters
    ----------
    wavelengths_nm, absorbance : numpy.ndarray
        Evenly spaced, shape ``(n,)``.
    prominence : float
        How far it must stand out, in absorbance.
    width_nm : float
        How broad it must be at least, at half its prominence.
    """
    spacing_nm = float(np.mean(np.diff(wavelengths_nm)))
    found, facts = find_peaks(absorbance, prominence=prominence, width=width_nm / spacing_nm)
    if not len(found):
        return None
    top = int(np.argmax(facts["prominences"]))
    index = found[top]
    # half of the height above zero, not above the foot of the peak
    height = float(absorbance[index])
    whole = (np.array([height]), np.array([0]), np.array([len(absorbance) - 1]))
    width = peak_widths(absorbance, [index], rel_height=0.5, prominence_data=whole)[0][0]
    return Peak(float(wavelengths_nm[index]), float(width) * spacing_nm, height)
