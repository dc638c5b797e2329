"""The spectrum routine on spectra whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from analysis.routines import find_peaks, quantities

Array = NDArray[np.float64]
NM: Array = np.arange(300.0, 850.0)


def gaussian(position_nm: float, height: float, fwhm_nm: float, x: Array = NM) -> Array:
    return height * np.exp(-4 * math.log(2) * ((x - position_nm) / fwhm_nm) ** 2)


def noise(sd: float, seed: int = 0, x: Array = NM) -> Array:
    return np.random.default_rng(seed).normal(0.0, sd, len(x))


@settings(max_examples=60, deadline=None)
@given(
    position_nm=st.floats(380, 700),
    height=st.floats(0.1, 2.5),
    fwhm_nm=st.floats(40, 140),
    seed=st.integers(0, 10_000),
    snr=st.sampled_from([100.0, 300.0, 1e6]),
)
def test_one_peak_is_found_where_it_is(
    position_nm: float, height: float, fwhm_nm: float, seed: int, snr: float
) -> None:
    [peak, *others] = find_peaks(NM, gaussian(position_nm, height, fwhm_nm) + noise(height / snr, seed))
    assert not others
    assert peak.position_nm == pytest.approx(position_nm, abs=0.03 * fwhm_nm)
    assert peak.height == pytest.approx(height, rel=0.03)
    # Left of 380 nm a wide band is cut off by the range, and the boxcar widens a narrow one.
    assert peak.fwhm_nm == pytest.approx(fwhm_nm, rel=0.05)
    for uncertainty in (peak.position_uncertainty_nm, peak.height_uncertainty, peak.fwhm_uncertainty_nm):
        assert 0 <= uncertainty < math.inf


def test_uncertainties_are_what_repeated_measurements_scatter_by() -> None:
    truth = gaussian(412.0, 0.8, 90.0)
    peaks = [find_peaks(NM, truth + noise(0.01, seed))[0] for seed in range(150)]
    for value, uncertainty, expected in (
        ([p.position_nm for p in peaks], [p.position_uncertainty_nm for p in peaks], 412.0),
        ([p.height for p in peaks], [p.height_uncertainty for p in peaks], 0.8),
        ([p.fwhm_nm for p in peaks], [p.fwhm_uncertainty_nm for p in peaks], 90.25),
    ):
        scatter = float(np.std(value))
        assert float(np.mean(uncertainty)) == pytest.approx(scatter, rel=0.5)
        assert float(np.mean(value)) == pytest.approx(expected, abs=scatter)


@pytest.mark.parametrize(
    "spectrum",
    [
        np.zeros_like(NM),
        noise(0.002),
        0.5 + 0.001 * (NM - 300),
        0.5 * np.exp(-(NM - 300) / 100) + noise(0.001),
        gaussian(280, 1.0, 90),
        gaussian(412, 0.005, 90),
        gaussian(412, 1.0, 4),
    ],
    ids=["zero", "noise", "slope", "decay", "peak outside", "too low", "too narrow"],
)
def test_where_there_is_no_peak_none_is_found(spectrum: Array) -> None:
    assert find_peaks(NM, spectrum) == ()
    found = quantities(())
    assert math.isnan(found["lambda_max"].value)
    assert (found["lambda_max"].unit, found["fwhm"].unit, found["peaks"].value) == ("nm", "nm", 0)


def test_two_peaks_are_told_apart_and_the_highest_comes_first() -> None:
    small, large = find_peaks(NM, gaussian(400, 0.5, 60) + gaussian(600, 0.9, 80) + noise(0.003))[::-1]
    assert (large.position_nm, small.position_nm) == (pytest.approx(600, abs=1), pytest.approx(400, abs=1))
    assert (large.height, small.height) == (pytest.approx(0.9, rel=0.02), pytest.approx(0.5, rel=0.02))
    assert (large.fwhm_nm, small.fwhm_nm) == (pytest.approx(80, rel=0.03), pytest.approx(60, rel=0.03))


def test_peaks_that_overlap_take_the_width_of_their_free_side() -> None:
    first, second = find_peaks(NM, gaussian(420, 1.0, 80) + gaussian(520, 0.9, 80))
    assert (first.position_nm, second.position_nm) == (pytest.approx(420, abs=5), pytest.approx(520, abs=5))
    for peak in (first, second):
        assert peak.fwhm_nm == pytest.approx(80, rel=0.15)


@pytest.mark.parametrize("position_nm", [320.0, 330.0, 825.0])
def test_a_peak_at_the_edge_of_the_range_has_position_and_width(position_nm: float) -> None:
    [peak] = find_peaks(NM, gaussian(position_nm, 0.8, 90.0) + noise(0.001))
    assert peak.position_nm == pytest.approx(position_nm, abs=2)
    assert peak.fwhm_nm == pytest.approx(90, rel=0.06)
    assert peak.height == pytest.approx(0.8, rel=0.02)


def test_a_peak_on_a_high_background_has_no_width() -> None:
    [peak] = find_peaks(NM, gaussian(500, 0.2, 80) + 1.0)
    assert peak.position_nm == pytest.approx(500, abs=0.5)
    assert math.isnan(peak.fwhm_nm)


def test_missing_points_are_left_out() -> None:
    spectrum = gaussian(412, 0.8, 90) + noise(0.002)
    spectrum[[0, 50, 111, 112, 113, 300]] = [math.nan, math.inf, math.nan, math.nan, -math.inf, math.nan]
    [peak] = find_peaks(NM, spectrum)
    assert peak.position_nm == pytest.approx(412, abs=1)
    assert peak.fwhm_nm == pytest.approx(90, rel=0.03)


@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        (NM, np.full_like(NM, math.nan), "0 of 550"),
        (NM[:10], NM[:10], "10 of 10"),
        (NM, NM[:-1], "same length"),
        (NM[::-1], gaussian(412, 1, 90), "rise"),
    ],
)
def test_what_is_no_spectrum_is_refused(x: Array, y: Array, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        find_peaks(x, y)


@pytest.mark.parametrize("spacing_nm", [0.25, 1.0, 2.0])
def test_the_width_that_is_asked_for_is_in_nm_whatever_the_spacing(spacing_nm: float) -> None:
    x = np.arange(300.0, 850.0, spacing_nm)
    assert find_peaks(x, gaussian(500, 1.0, 15, x), boxcar_points=3) == ()
    [peak] = find_peaks(x, gaussian(500, 1.0, 40, x), boxcar_points=3)
    assert peak.fwhm_nm == pytest.approx(40, rel=0.02)
