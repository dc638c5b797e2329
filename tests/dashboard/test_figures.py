"""Pictures say what is true: bars where steps are, curves through the points, ticks at round values."""

from __future__ import annotations

import math
import re

from hypothesis import given
from hypothesis import strategies as st

from octolab.dashboard import figures

FINITE = st.floats(-1e6, 1e6)


def numbers(svg: str, attribute: str) -> list[float]:
    return [float(text) for text in re.findall(rf'{attribute}="(-?[0-9.]+)"', svg)]


def test_bars_keep_order_and_proportion() -> None:
    rows = [figures.Row("arm", [figures.Bar(0, 100, "s0", "a"), figures.Bar(100, 400, "s1", "b")])]
    svg = figures.timeline(rows, 50.0, 0.0, str)
    bars = re.findall(r'<rect class="bar (\w+)" x="([0-9.]+)" y="[0-9.]+" width="([0-9.]+)"', svg)
    (_, first_x, first_w), (_, second_x, second_w) = bars
    assert math.isclose(float(second_w) / float(first_w), 3, rel_tol=0.01)
    assert math.isclose(float(first_x) + float(first_w), float(second_x), abs_tol=0.1)
    assert svg.count('class="now"') == 1


def test_now_is_left_out_when_it_is_far_away() -> None:
    rows = [figures.Row("arm", [figures.Bar(0, 100, "s0", "a")])]
    assert 'class="now"' not in figures.timeline(rows, 1e9, 0.0, str)


def test_nothing_to_show_is_nothing() -> None:
    assert figures.timeline([figures.Row("arm")], 0.0, 0.0, str) == ""
    assert figures.chart([figures.Curve("a", [], [])], "x", "y") == ""
    assert figures.chart([figures.Curve("a", [1.0], [math.nan])], "x", "y") == ""


def test_text_is_escaped() -> None:
    rows = [figures.Row("<b>", [figures.Bar(0, 1, "s0", "<i>", href="/x")])]
    assert "<b>" not in figures.timeline(rows, 0.0, 0.0, str)
    assert "<i>" not in figures.chart([figures.Curve("<i>", [0, 1], [0, 1], [(0.5, 0.5)])], "<i>", "<i>")


@given(st.lists(st.tuples(FINITE, FINITE), min_size=2, max_size=50))
def test_every_point_lies_inside_the_picture(points: list[tuple[float, float]]) -> None:
    points.sort()
    svg = figures.chart([figures.Curve("a", [a for a, _ in points], [b for _, b in points])], "x", "y")
    path = re.search(r'class="curve" d="([^"]*)"', svg)
    assert path is not None
    for x, y in re.findall(r"[ML](-?[0-9.]+) (-?[0-9.]+)", path[1]):
        assert 57 <= float(x) <= 1149
        assert 9 <= float(y) <= 337


@given(st.floats(1e-6, 1e9), st.integers(2, 12))
def test_ticks_are_one_two_or_five_times_a_power_of_ten(span: float, wanted: int) -> None:
    step = figures.nice_step(span, wanted)
    mantissa = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert any(math.isclose(mantissa, m, rel_tol=1e-6) for m in (1, 2, 5, 10))
    assert span / step <= wanted * 1.01


def test_a_gap_in_the_data_is_a_gap_in_the_curve() -> None:
    svg = figures.chart([figures.Curve("a", [0, 1, 2, 3, 4], [1.0, 1.0, None, 1.0, 1.0])], "x", "y")
    path = re.search(r'class="curve" d="([^"]*)"', svg)
    assert path is not None
    assert path[1].count("M") == 2


def test_curves_are_told_apart_without_colours() -> None:
    curves = [
        figures.Curve("first", [0, 1, 2], [0.0, 3.0, 1.0]),
        figures.Curve("second", [0, 1, 2], [5.0, math.nan, 0.0]),
    ]
    svg = figures.chart(curves, "x", "y")
    placed = dict(re.findall(r'class="letter" x="([0-9.]+)" y="[0-9.]+" text-anchor="middle">(\w)<', svg))
    assert sorted(placed.values()) == ["a", "b"]
    first, second = (float(x) for x, letter in sorted(placed.items(), key=lambda item: item[1]))
    assert first > second, "each letter stands over the highest point of its curve"
    assert "a first" in svg
    assert "b second" in svg
    assert "letter" not in figures.chart(curves[:1], "x", "y")
