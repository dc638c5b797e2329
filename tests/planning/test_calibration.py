"""Ranges that are corrected by how past ones fared: as many hold as was promised, whatever the forecasts leave out."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.planning.calibration import NARROWEST, WORST, Calibration, halves, score, unsure
from scheduler.planning.durations import Z80, Range

RAW = Range(1000 - 10 * Z80, 1000, 1000 + 10 * Z80)
"""True of errors with a standard deviation of 10."""
times = st.floats(0, 1e6)


def fared(draw: Callable[[int, int], float], bunches: int, size: int) -> tuple[float, float, float]:
    """Predict bunches of jobs, each before any of it is done; return the shares that held and were too late, and the
    mean width next to that of ranges that are right."""
    calibration = Calibration()
    rows: list[tuple[bool, bool, float]] = []
    for bunch in range(bunches):
        told, scales = calibration.apply(RAW, 0), calibration.scales
        for number in range(size):
            value = draw(bunch, number)
            rows.append((told.holds(value), value > told.high, told.high - told.low))
            calibration.observe(score(RAW, value), scales)
    held, late, width = (sum(row[k] for row in rows) / len(rows) for k in range(3))
    return held, late, width / (RAW.high - RAW.low)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("truth", [0.5, 1.0, 2.5])
def test_jobs_that_have_nothing_to_do_with_one_another(seed: int, truth: float) -> None:
    rng = random.Random(seed)
    held, late, width = fared(lambda *_: rng.gauss(1000, 10 * truth), 1500, 1)
    assert 0.77 <= held <= 0.85
    assert 0.07 <= late <= 0.13
    assert 0.8 <= width / truth <= 1.3


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("size", "common"), [(15, 0.5), (15, 0.8), (50, 0.5)])
def test_jobs_that_share_their_fate(seed: int, size: int, common: float) -> None:
    """Of a bunch that is told at once, a part of the error is common: many scores, but worth few."""
    rng = random.Random(seed)
    fate = [rng.gauss(0, 20 * math.sqrt(common)) for _ in range(80)]
    held, _, width = fared(lambda bunch, _: 1000 + fate[bunch] + rng.gauss(0, 20 * math.sqrt(1 - common)), 80, size)
    assert 0.75 <= held <= 0.85
    assert 0.8 <= width / 2 <= 1.35


@pytest.mark.parametrize("seed", range(3))
def test_a_lab_that_gets_worse_and_better_again_is_followed(seed: int) -> None:
    rng = random.Random(seed)
    held, _, _ = fared(lambda bunch, _: rng.gauss(1000, 40 if 60 <= bunch < 120 else 10), 240, 10)
    assert 0.75 <= held <= 0.85


@pytest.mark.parametrize("seed", range(3))
def test_each_side_is_right_where_all_is_later_than_foreseen(seed: int) -> None:
    rng = random.Random(seed)
    held, late, _ = fared(lambda *_: rng.gauss(1008, 10), 1500, 1)
    assert 0.77 <= held <= 0.85
    assert 0.07 <= late <= 0.13


@given(st.lists(st.tuples(st.floats(allow_nan=False), st.floats(0, WORST)), max_size=40), times, times)
def test_whatever_happened_a_range_is_one_and_not_past(
    past: list[tuple[float, float]], now: float, ahead: float
) -> None:
    calibration = Calibration()
    for value, scale in past:
        calibration.observe(value, (scale, scale))
    assert all(NARROWEST <= scale <= WORST for scale in calibration.scales)
    found = calibration.apply(unsure(Range(now, now + ahead, now + 2 * ahead), now, 3), now)
    assert now <= found.low <= found.median <= found.high < math.inf


@given(times, times, st.integers(1, 10_000), st.floats(0, 100))
def test_a_plan_with_more_jobs_is_less_sure(now: float, ahead: float, jobs: int, least: float) -> None:
    raw = Range(now, now + ahead / 2, now + ahead)
    few, many = (halves(unsure(raw, now, count, least)) for count in (jobs, 4 * jobs))
    for raw_half, one, other in zip(halves(raw), few, many, strict=True):
        assert raw_half - 1e-6 <= one <= other + 1e-6
        assert one >= least - 1e-6
        assert other <= max(least, 1.5 * raw_half + 0.5 * ahead) + 1e-3


def test_nothing_is_surer_than_what_has_happened() -> None:
    assert halves(unsure(Range(50, 50, 50), 60, 9)) == pytest.approx((0, 0), abs=1e-5)
    assert score(Range(50, 50, 50), 51) > WORST
