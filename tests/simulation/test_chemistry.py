"""The law from recipe to peak: smooth, with the right trends, and nothing from nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.simulation.chemistry import Recipe, absorbance, plasmon
from modules.simulation.vessels import rate

NM = np.arange(300.0, 850.0)


def recipe(silver_ul: float, *, dose: float = 4.0, evenness: float = 1.0, **changes: float) -> Recipe:
    amounts = {"citrate": 24.0, "h2o2": 450.0, "nabh4": 30.0, "agno3": silver_ul * 1.25e-3} | changes
    return Recipe(amounts, 5400.0 + silver_ul, dose, evenness)


def test_published_range() -> None:
    peaks = [plasmon(recipe(volume)) for volume in range(100, 1201, 50)]
    positions = [peak.peak_nm for peak in peaks]
    assert positions[0] == pytest.approx(400, abs=15)
    assert positions[-1] == pytest.approx(750, abs=15)
    steps = np.diff(positions)
    assert (steps > 0).all()
    assert steps.max() < 30


@given(st.floats(50, 1500), st.floats(0.01, 6), st.floats(0, 1), st.floats(1, 100), st.floats(10, 2000))
def test_smooth_and_physical_everywhere(silver, dose, evenness, citrate, peroxide) -> None:
    here = recipe(silver, dose=dose, evenness=evenness, citrate=citrate, h2o2=peroxide)
    near = recipe(silver * 1.001, dose=dose, evenness=evenness, citrate=citrate, h2o2=peroxide)
    one, two = plasmon(here), plasmon(near)
    assert abs(one.peak_nm - two.peak_nm) < 1.0
    assert 390 < one.peak_nm < 850
    assert 30 < one.fwhm_nm < 500
    assert 0 <= one.height < 5
    values = absorbance(NM, here)
    assert np.isfinite(values).all()
    assert (values >= 0).all()


@pytest.mark.parametrize("missing", ["agno3", "nabh4"])
def test_no_recipe_no_peak(missing: str) -> None:
    assert not absorbance(NM, recipe(600, **{missing: 0.0})).any()
    assert not absorbance(NM, Recipe()).any()


def test_time_warmth_and_stirring_matter() -> None:
    assert plasmon(recipe(600, dose=0.5)).peak_nm < plasmon(recipe(600)).peak_nm
    assert plasmon(recipe(600, dose=0.5)).height < plasmon(recipe(600)).height
    assert plasmon(recipe(600, evenness=0.0)).fwhm_nm > plasmon(recipe(600)).fwhm_nm
    assert rate(40) > 2 * rate(25)
    assert 7200 * rate(25) == pytest.approx(4)


def test_there_is_a_best_amount_of_peroxide_and_citrate() -> None:
    for species, best in (("h2o2", 450.0), ("citrate", 24.0)):
        positions = [plasmon(recipe(800, **{species: best * f})).peak_nm for f in (0.2, 1.0, 5.0)]
        assert positions[1] > max(positions[0], positions[2])


def test_dilution_lowers_the_peak_and_leaves_it_where_it_is() -> None:
    thick = recipe(600)
    thin = Recipe(thick.amounts_umol, 2 * thick.volume_ul, thick.dose, thick.evenness)
    assert plasmon(thin).peak_nm == plasmon(thick).peak_nm
    assert plasmon(thin).height == pytest.approx(plasmon(thick).height / 2)
