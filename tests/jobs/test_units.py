"""Quantities as people write them."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.jobformat import units
from scheduler.jobformat.units import UnitError, conversion, to_unit


@pytest.mark.parametrize(
    ("written", "unit", "number"),
    [
        ("1200 µL", "µL", 1200.0),
        ("1200 uL", "µL", 1200.0),
        ("1200 \u03bcL", "µL", 1200.0),
        ("1.2 mL", "µL", 1200.0),
        ("1.2mL", "µL", 1200.0),
        ("200 µL/s", "µL/s", 200.0),
        ("12 mL/min", "µL/s", 200.0),
        ("10 mM", "mM", 10.0),
        ("0.01 mol/L", "mM", 10.0),
        ("1250 µM", "mM", 1.25),
        ("25 °C", "degC", 25.0),
        ("25 degC", "degC", 25.0),
        ("298.15 K", "degC", 25.0),
        ("77 °F", "degC", 25.0),
        ("5 min", "s", 300.0),
        ("2 h", "s", 7200.0),
        ("1 day", "s", 86400.0),
        ("1000 rpm", "rpm", 1000.0),
        ("0.3 µm", "nm", 300.0),
        ("50 %", "1", 0.5),
        ("3", "s", 3.0),
        (3, "s", 3.0),
        ("-1e-2 s", "s", -0.01),
    ],
)
def test_quantities(written: str | float, unit: str, number: float) -> None:
    assert to_unit(written, unit) == pytest.approx(number, rel=1e-12)


@pytest.mark.parametrize(
    ("written", "unit", "sentence"),
    [
        ("5 apples", "s", "the unit `apples` is unknown; write it like `5 min`"),
        ("5 nm", "s", "`nm` does not fit: this takes a unit such as in `5 min`"),
        ("5 min", "µL", "`min` does not fit: this takes a unit such as in `1200 µL`"),
        ("5 min", "", "`min` does not fit: this takes a number without a unit"),
        ("much", "µL", "`much` is not a quantity; write it like `1200 µL`"),
        ("", "µL", "`` is not a quantity; write it like `1200 µL`"),
        ("5 s**99999999", "s", "is not a unit"),
        ("5 s**9**9", "s", "is not a unit"),
        ("5 __import__('os')", "s", "is not a unit"),
        ("1e999 s", "s", "is not a quantity"),
    ],
)
def test_refusals_show_how_to_write_it(written: str, unit: str, sentence: str) -> None:
    with pytest.raises(UnitError) as refused:
        to_unit(written, unit)
    assert sentence in str(refused.value)


@given(st.text(max_size=30), st.sampled_from(["s", "µL", "degC", "1"]))
def test_any_text_is_a_number_or_refused(text: str, unit: str) -> None:
    with contextlib.suppress(UnitError):
        assert isinstance(to_unit(text, unit), float)


@given(st.floats(1e-3, 1e6), st.sampled_from([("mL", "µL"), ("h", "s"), ("K", "degC"), ("µM", "mM")]))
def test_there_and_back(number: float, units: tuple[str, str]) -> None:
    one, other = units
    there = to_unit(f"{number!r} {one}", other)
    assert to_unit(f"{there!r} {other}", one) == pytest.approx(number, rel=1e-9, abs=1e-6)


def test_conversions_of_results_have_factor_and_offset() -> None:
    assert conversion("mL", "µL") == pytest.approx((1000.0, 0.0))
    assert conversion("K", "degC") == pytest.approx((1.0, -273.15))


def test_pint_is_not_loaded_for_a_job_in_the_manifests_units() -> None:
    program = (
        "import sys; from scheduler.jobformat.units import to_unit;"
        "[to_unit(*pair) for pair in [('1200 uL', 'µL'), ('25 °C', 'degC'), ('300 s', 's'), (5, 'nm')]];"
        "sys.exit('pint' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(("written", "unit"), list(itertools.permutations(units._COMMON, 2)))
def test_common_units_are_what_pint_says(written: str, unit: str) -> None:
    """They are known without it, and it is right about them."""
    same = units._COMMON[written][0] == units._COMMON[unit][0]
    if not same:
        with pytest.raises(units.UnitError):
            units.conversion(written, unit)
        return
    quantity = units._registry().Quantity
    assert units.conversion(written, unit) == (pytest.approx(quantity(1.0, written).to(unit).magnitude), 0.0)
