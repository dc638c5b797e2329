"""The spectrum routine: where an absorbance spectrum peaks, how high and how wide.

A boxcar smooths the spectrum, ``scipy.signal.find_peaks`` finds peaks by prominence and width; what does not stand out
of the spectrum's own noise is no peak. Then, on the unsmoothed data, a polynomial of fourth degree through the top
gives position and height, with their uncertainties from the scatter around it. The width (FWHM) is taken on the
smoothed spectrum where it falls to half of the height, so absorbance zero is the baseline: the blank is subtracted
already. Where one side does not fall that far (the end of the range, or a neighbouring peak), twice the half-width of
the other side is taken. The boxcar widens a peak: ten points of 1 nm add 0.25 nm to an FWHM of 90 nm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from analysis.arrays import Slice

from .base import Findings, NewArray, Parameters, Quantity, register

Array = NDArray[np.float64]

MIN_POINTS = 20
MAX_MISSING = 0.2
"""The share of points that may be NaN or infinite."""
SIGNIFICANCE = 10.0
"""How many standard deviations of the smoothed noise a peak has to stand out: noise alone reaches 7 over 550 points."""
_TOP = 0.4
"""The fit covers this share of the FWHM on either side."""


@dataclass(frozen=True)
class Peak:
    """A peak, with standard uncertainties. A width that cannot be told is NaN."""

    position_nm: float
    position_uncertainty_nm: float
    height: float
    height_uncertainty: float
    fwhm_nm: float
    fwhm_uncertainty_nm: float
    prominence: float


def find_peaks(
    wavelengths_nm: ArrayLike,
    absorbance: ArrayLike,
    *,
    boxcar_points: int = 10,
    prominence: float = 0.01,
    min_width_nm: float = 20.0,
) -> tuple[Peak, ...]:
    """Find the peaks of a spectrum, the highest first.

    Parameters
    ----------
    wavelengths_nm, absorbance
        Of the same length; wavelengths rise. Points that are not finite are left out.
    boxcar_points
        Length of the moving average.
    prominence
        The least prominence, in absorbance.
    min_width_nm
        The least width at half prominence.

    Raises
    ------
    ValueError
        If too few points are finite, or the wavelengths do not rise.
    """
    return _find(*_finite(wavelengths_nm, absorbance), boxcar_points, prominence, min_width_nm)[0]


def _finite(wavelengths_nm: ArrayLike, absorbance: ArrayLike) -> tuple[Array, Array]:
    x, y = np.asarray(wavelengths_nm, dtype=float), np.asarray(absorbance, dtype=float)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"a spectrum is two lists of the same length, not {x.shape} and {y.shape}")
    kept = np.isfinite(x) & np.isfinite(y)
    if kept.sum() < max(MIN_POINTS, (1 - MAX_MISSING) * len(x)):
        raise ValueError(f"only {kept.sum()} of {len(x)} points of the spectrum are numbers")
    x, y = x[kept], y[kept]
    if not (np.diff(x) > 0).all():
        raise ValueError("the wavelengths of a spectrum have to rise")
    return x, y


def _find(
    x: Array, y: Array, boxcar_points: int, prominence: float, min_width_nm: float
) -> tuple[tuple[Peak, ...], Array]:
    # Here, because a host that never measures a spectrum shall not pay for it.
    from scipy import ndimage, signal

    smooth = ndimage.uniform_filter1d(y, size=boxcar_points, mode="nearest")
    spacing_nm = float(np.median(np.diff(x)))
    least = max(prominence, SIGNIFICANCE * _scatter(y) / math.sqrt(boxcar_points))
    indices, found = signal.find_peaks(smooth, prominence=least, width=min_width_nm / spacing_nm, rel_height=0.5)
    order = np.argsort(indices)
    tops = [int(indices[i]) for i in order]
    bounds = [0, *(a + int(np.argmin(smooth[a : b + 1])) for a, b in pairwise(tops)), len(x) - 1]
    peaks = []
    for number, (top, which) in enumerate(zip(tops, order, strict=True)):
        low, high = bounds[number], bounds[number + 1]
        width_nm = float(found["widths"][which]) * spacing_nm
        position, height = _fit_top(x, y, smooth, top, low, high, width_nm)
        fwhm = _fwhm(x, y, smooth, top, low, high, position, height, boxcar_points)
        peaks.append(Peak(*position, *height, *fwhm, prominence=float(found["prominences"][which])))
    return tuple(sorted(peaks, key=lambda peak: -peak.height)), smooth


def _fit_top(
    x: Array, y: Array, smooth: Array, top: int, low: int, high: int, width_nm: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return position and height, each with its uncertainty."""
    reach_nm = _TOP * width_nm
    window = np.flatnonzero(np.abs(x - x[top]) <= reach_nm)
    window = window[(window >= low) & (window <= high)]
    degree = 4 if len(window) >= 12 else 2
    spacing_nm = float(np.median(np.diff(x)))
    fallback = (float(x[top]), spacing_nm), (float(smooth[top]), _scatter(y))
    if len(window) <= degree + 2:
        return fallback
    u = (x[window] - x[top]) / reach_nm
    powers = np.vander(u, degree + 1, increasing=True)
    coefficients, *_ = np.linalg.lstsq(powers, y[window], rcond=None)
    residuals = y[window] - powers @ coefficients
    covariance = np.linalg.inv(powers.T @ powers) * (residuals @ residuals) / (len(window) - degree - 1)
    polynomial = np.polynomial.Polynomial(coefficients)
    roots = polynomial.deriv().roots()
    candidates = roots.real[(np.abs(roots.imag) < 1e-9) & (roots.real > u[0]) & (roots.real < u[-1])]
    bend = polynomial.deriv(2)
    candidates = candidates[bend(candidates) < 0]
    if not len(candidates):
        return fallback
    best = float(candidates[np.argmax(polynomial(candidates))])
    exponents = np.arange(degree + 1)
    at_best = best**exponents
    slope_of_each = np.where(exponents > 0, exponents * best ** np.maximum(exponents - 1, 0), 0.0) / bend(best)
    return (
        (float(x[top] + best * reach_nm), math.sqrt(slope_of_each @ covariance @ slope_of_each) * reach_nm),
        (float(polynomial(best)), math.sqrt(at_best @ covariance @ at_best)),
    )


def _fwhm(
    x: Array,
    y: Array,
    smooth: Array,
    top: int,
    low: int,
    high: int,
    position: tuple[float, float],
    height: tuple[float, float],
    boxcar_points: int,
) -> tuple[float, float]:
    noise = math.hypot(_scatter(y[low : high + 1]) / math.sqrt(boxcar_points), height[1] / 2)
    left = _crossing(x, smooth, range(top, low, -1), height[0] / 2, noise)
    right = _crossing(x, smooth, range(top, high), height[0] / 2, noise)
    match left, right:
        case (float(a), float(sa)), (float(b), float(sb)):
            return b - a, math.hypot(sa, sb)
        case ((float(at), float(s)), None) | (None, (float(at), float(s))):
            return 2 * abs(at - position[0]), 2 * math.hypot(s, position[1])
    return math.nan, math.nan


def _crossing(x: Array, smooth: Array, walk: range, level: float, noise: float) -> tuple[float, float] | None:
    """Return where the curve falls below the level, walking from the top, and its uncertainty."""
    for index in walk:
        following = index + walk.step
        if smooth[following] < level <= smooth[index]:
            slope = (smooth[following] - smooth[index]) / (x[following] - x[index])
            # Over ten points, because over one the slope is mostly noise.
            a, b = sorted((max(0, index - 5), min(len(x) - 1, index + 5)))
            steady = (smooth[b] - smooth[a]) / (x[b] - x[a])
            return float(x[index] + (level - smooth[index]) / slope), float(noise / abs(steady or slope))
    return None


def _scatter(y: Array) -> float:
    """Return the noise of single points, from second differences: a smooth curve adds almost nothing to them."""
    if len(y) < 3:
        return 0.0
    return float(1.4826 * np.median(np.abs(np.diff(y, 2))) / math.sqrt(6))


class SpectrumParameters(Parameters):
    """How peaks are looked for."""

    boxcar_points: int = Field(default=10, ge=1, le=200)
    prominence: float = Field(default=0.01, gt=0, le=10)
    min_width_nm: float = Field(default=20.0, ge=0, le=1000)


class SpectrumRoutine:
    """Position, width and height of the highest peak; NaN if there is none."""

    name: ClassVar[str] = "spectrum"
    version: ClassVar[str] = "1"
    title: ClassVar[str] = "Highest peak of an absorbance spectrum"
    needs: ClassVar[tuple[str, ...]] = ("absorbance",)
    parameters: ClassVar[type[Parameters]] = SpectrumParameters

    def run(self, arrays: Mapping[str, Slice], parameters: Any) -> Findings:
        """Analyse one spectrum with its axis in nm."""
        spectrum = arrays["absorbance"]
        wavelengths, unit = next(iter(spectrum.axes.values()), (None, ""))
        if wavelengths is None or unit != "nm":
            raise ValueError(f"a spectrum needs an axis in nm, this one has {unit or 'none'}")
        x, y = _finite(wavelengths, spectrum.values)
        peaks, smooth = _find(x, y, parameters.boxcar_points, parameters.prominence, parameters.min_width_nm)
        axis = {"wavelength": (x, "nm")}
        return Findings(quantities(peaks), {"absorbance_smoothed": NewArray(smooth, spectrum.unit, axis)})


def quantities(peaks: tuple[Peak, ...]) -> dict[str, Quantity]:
    """Return the highest peak as quantities; all NaN if there is no peak."""
    nan = math.nan
    peak = peaks[0] if peaks else Peak(nan, nan, nan, nan, nan, nan, nan)
    return {
        "lambda_max": Quantity(peak.position_nm, "nm", peak.position_uncertainty_nm),
        "fwhm": Quantity(peak.fwhm_nm, "nm", peak.fwhm_uncertainty_nm),
        "peak_height": Quantity(peak.height, "", peak.height_uncertainty),
        "peaks": Quantity(len(peaks), ""),
    }


register(SpectrumRoutine())
