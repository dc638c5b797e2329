"""From a recipe to a spectrum, by real driver calls over real ptys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import find_peaks, peak_widths

from modules.drivers import Refused
from modules.simulation.testing import Bench, bench

from .recipes import BASE, make_vials, measure, set_up


@pytest.fixture
def fast_lab(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path, scale=2500.0) as made:
        yield made


def test_the_peak_moves_to_the_red_with_the_silver(fast_lab: Bench) -> None:
    lab = fast_lab
    set_up(lab)
    volumes = {1: 100.0, 2: 500.0, 3: 1200.0}
    make_vials(lab, volumes)
    for slot, silver in volumes.items():
        vessel = lab.world.standing[f"stirrer.{slot}"]
        wanted = [*BASE.values(), silver]
        assert list(vessel.portions.values()) == pytest.approx(wanted, abs=0.5)
    peaks = []
    for slot in volumes:
        nm, absorbance = measure(lab, slot)
        found, _ = find_peaks(absorbance, prominence=0.01, width=20)
        best = found[np.argmax(absorbance[found])]
        width = peak_widths(absorbance, [best], rel_height=0.5)[0][0]
        peaks.append((nm[best], width, absorbance[best]))
    positions = [position for position, _, _ in peaks]
    assert positions == sorted(positions)
    assert 390 < positions[0] < 430
    assert 500 < positions[1] < 640
    assert 690 < positions[2] < 790
    assert all(0.1 < height < 2.5 for _, _, height in peaks)
    assert all(30 < width < 250 for _, width, _ in peaks)
    assert lab.world.spilled_ul == 0
    assert lab.log("incident") == []


def test_an_empty_cuvette_shows_no_peak(lab: Bench) -> None:
    lab.device("arm").home()
    lab.device("arm").transfer("cuvette.1", "spectrometer")
    spectrometer = lab.device("spectrometer", boxcar=10)
    with pytest.raises(Refused, match="measure the reference first"):
        spectrometer.absorbance()
    spectrometer.dark()
    spectrometer.reference()
    absorbance = spectrometer.absorbance()
    assert np.abs(absorbance).max() < 0.005
    assert 0 < absorbance.std() < 0.002


def test_a_used_cuvette_comes_back_rinsed(lab: Bench) -> None:
    lab.device("arm").home()
    lab.world.pour("cuvette.2", "agno3 1.25 mM", 500, 0.0)
    lab.device("arm").transfer("cuvette.2", "spectrometer")
    assert lab.world.standing["spectrometer"].volume_ul == 500
    lab.device("arm").transfer("spectrometer", "cuvette.2")
    assert lab.world.standing["cuvette.2"].volume_ul == 0
