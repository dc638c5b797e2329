"""Pictures as SVG, drawn by the server: no script, printable, readable by tests."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
COLOURS = 10
"""Number of series colours in the style sheet, ``s0`` …"""


@dataclass(frozen=True)
class Bar:
    """One bar of a timeline, in lab seconds."""

    start_s: float
    end_s: float
    css: str
    title: str
    href: str = ""


@dataclass(frozen=True)
class Row:
    """One row of a timeline."""

    label: str
    bars: Sequence[Bar] = field(default_factory=list)
    href: str = ""


@dataclass(frozen=True)
class Curve:
    """One curve of a chart; ``y`` may hold None where nothing was measured."""

    label: str
    x: Sequence[float]
    y: Sequence[float | None]
    marks: Sequence[tuple[float, float]] = ()


def nice_step(span: float, wanted: int) -> float:
    """Return a step of 1, 2 or 5 times a power of ten that divides a span into about ``wanted`` parts."""
    raw = span / max(wanted, 1)
    magnitude = 10 ** math.floor(math.log10(raw)) if raw > 0 else 1.0
    return next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= raw * 0.999)


_TIME_STEPS_S = (
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    10800,
    21600,
    43200,
    86400,
    172800,
    604800,
)


def time_step_s(span_s: float, wanted: int) -> float:
    """Return a step that people read on clocks."""
    raw = span_s / max(wanted, 1)
    return next((float(step) for step in _TIME_STEPS_S if step >= raw), 604800.0 * math.ceil(raw / 604800))


def _ticks(low: float, high: float, step: float, origin: float = 0.0) -> list[float]:
    first, last = math.ceil((low - origin) / step - 1e-9), math.floor((high - origin) / step + 1e-9)
    return [origin + i * step for i in range(first, last + 1)]


def timeline(
    rows: Sequence[Row],
    now_s: float,
    midnight_s: float,
    clock_text: Callable[[float], str],
    width: int = 1160,
    *,
    always_now: bool = False,
) -> SafeString:
    """Draw bars over lab time, a row each, with a line at now.

    Parameters
    ----------
    rows
        The rows, from top to bottom.
    now_s
        The present lab second.
    midnight_s
        A lab second at which the lab's clock shows midnight; ticks count from there.
    clock_text
        Writes a lab second for the axis.
    width
        Width of the drawing, in its own units; pages scale it.
    always_now
        Whether now is drawn however far away everything else is.
    """
    bars = [bar for row in rows for bar in row.bars]
    if not bars:
        return SafeString("")
    low = min(bar.start_s for bar in bars)
    high = max(max(bar.end_s for bar in bars), low + 1)
    if always_now or low - 0.2 * (high - low) < now_s < high + 0.2 * (high - low):
        low, high = min(low, now_s), max(high, now_s)
    left, row_height, top = 14 + 7.1 * max(len(row.label) for row in rows), 24, 22
    left = min(left, 260)
    height = top + row_height * len(rows) + 6
    scale = (width - left - 12) / (high - low)

    def x(lab_s: float) -> float:
        return left + (lab_s - low) * scale

    grid = format_html_join(
        "",
        '<line class="grid" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/><text x="{0}" y="12" text-anchor="{4}">{3}</text>',
        (
            (f"{x(tick):.1f}", top - 4, height - 4, clock_text(tick), "end" if x(tick) > width - 30 else "middle")
            for tick in _ticks(low, high, time_step_s(high - low, 8), midnight_s)
        ),
    )
    drawn = []
    for number, row in enumerate(rows):
        y = top + number * row_height
        label = format_html('<text class="label" x="0" y="{}">{}</text>', y + 15, _short(row.label, 40))
        if row.href:
            label = format_html('<a href="{}">{}</a>', row.href, label)
        drawn.append(label)
        drawn.extend(_bar(bar, x, y, row_height) for bar in row.bars)
    now_line = SafeString("")
    if low <= now_s <= high:
        now_line = format_html(
            '<line class="now" x1="{0}" x2="{0}" y1="{1}" y2="{2}"><title>now</title></line>',
            f"{x(now_s):.1f}", top - 4, height - 4,
        )  # fmt: skip
    return format_html(
        '<div class="scroll"><svg class="figure" viewBox="0 0 {} {}" role="{}" aria-label="timeline">'
        "{}{}{}</svg></div>",
        width, height, "group" if any(bar.href for bar in bars) else "img", grid,
        format_html_join("", "{}", ((part,) for part in drawn)), now_line,
    )  # fmt: skip


def _bar(bar: Bar, x: Callable[[float], float], y: float, row_height: float) -> SafeString:
    shape = format_html(
        '<rect class="bar {}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>',
        bar.css, f"{x(bar.start_s):.2f}", y + 4, f"{max(x(bar.end_s) - x(bar.start_s), 1.2):.2f}",
        row_height - 8, bar.title,
    )  # fmt: skip
    return format_html('<a href="{}" tabindex="-1">{}</a>', bar.href, shape) if bar.href else shape


def chart(
    curves: Sequence[Curve], x_title: str, y_title: str, width: int = 1160, height: int = 380, most_points: int = 600
) -> SafeString:
    """Draw curves over common axes, with a legend and a dot at each mark."""
    points = [(a, b) for curve in curves for a, b in zip(curve.x, curve.y, strict=True) if b is not None]
    points = [(a, b) for a, b in points if math.isfinite(a) and math.isfinite(b)]
    if not points:
        return SafeString("")
    x_low, x_high = _widen(min(a for a, _ in points), max(a for a, _ in points))
    y_low, y_high = _widen(min(0.0, min(b for _, b in points)), max(b for _, b in points))
    y_high += 0.04 * (y_high - y_low)
    left, right, top, bottom = 58, 12, 10, 44
    x_scale, y_scale = (width - left - right) / (x_high - x_low), (height - top - bottom) / (y_high - y_low)

    def px(a: float) -> float:
        return left + (a - x_low) * x_scale

    def py(b: float) -> float:
        return height - bottom - (b - y_low) * y_scale

    parts = []
    x_step, y_step = nice_step(x_high - x_low, 8), nice_step(y_high - y_low, 6)
    for tick in _ticks(x_low, x_high, x_step):
        parts.append(
            format_html(
                '<line class="grid" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>'
                '<text x="{0}" y="{3}" text-anchor="middle">{4}</text>',
                f"{px(tick):.1f}",
                top,
                height - bottom,
                height - bottom + 16,
                f"{tick:g}",
            )
        )
    for tick in _ticks(y_low, y_high, y_step):
        parts.append(
            format_html(
                '<line class="grid" x1="{1}" x2="{2}" y1="{0}" y2="{0}"/>'
                '<text x="{3}" y="{0}" dy="4" text-anchor="end">{4}</text>',
                f"{py(tick):.1f}",
                left,
                width - right,
                left - 7,
                f"{round(tick, 10):g}",
            )
        )
    parts.append(
        format_html(
            '<text class="label" x="{}" y="{}" text-anchor="middle">{}</text>'
            '<text class="label" transform="translate(13 {}) rotate(-90)" text-anchor="middle">{}</text>',
            (left + width - right) / 2,
            height - 6,
            x_title,
            (top + height - bottom) / 2,
            y_title,
        )
    )
    # Who sees no colours finds each curve by its letter.
    letters = [_LETTERS[number % len(_LETTERS)] if len(curves) > 1 else "" for number in range(len(curves))]
    for number, curve in enumerate(curves):
        path = _path(curve, px, py, most_points)
        marks = format_html_join(
            "",
            '<circle class="mark" cx="{}" cy="{}" r="3.2"><title>{}: {} at {}</title></circle>',
            ((f"{px(a):.1f}", f"{py(b):.1f}", curve.label, f"{b:.4g}", f"{a:.4g}") for a, b in curve.marks),
        )
        parts.append(
            format_html(
                '<g class="s{}"><path class="curve" d="{}"><title>{}</title></path>{}{}</g>',
                number % COLOURS,
                path,
                curve.label,
                marks,
                _letter_at_top(curve, letters[number], px, py),
            )
        )
    return format_html(
        '<div class="scroll"><svg class="figure" viewBox="0 0 {} {}" role="img" aria-label="{} over {}">'
        "{}</svg></div>{}",
        width, height, y_title, x_title, format_html_join("", "{}", ((part,) for part in parts)),
        legend([f"{letter} {curve.label}".strip() for letter, curve in zip(letters, curves, strict=True)]),
    )  # fmt: skip


def _letter_at_top(curve: Curve, letter: str, px: Callable[[float], float], py: Callable[[float], float]) -> SafeString:
    points = [(b, a) for a, b in zip(curve.x, curve.y, strict=True) if b is not None and math.isfinite(a + b)]
    if not (letter and points):
        return SafeString("")
    top, at = max(points)
    return format_html(
        '<text class="letter" x="{}" y="{}" text-anchor="middle">{}</text>',
        f"{px(at):.1f}", f"{max(py(top) - 7, 10):.1f}", letter,
    )  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """A predicted range and what happened, both counted from the prediction's middle."""

    low: float
    high: float
    real: float
    title: str


def outcomes(rows: Sequence[Outcome], y_title: str, width: int = 1160, height: int = 300) -> SafeString:
    """Draw predicted ranges side by side, each with a dot where it really happened."""
    if not rows:
        return SafeString("")
    low = min(min(row.low, row.real) for row in rows)
    high = max(max(row.high, row.real) for row in rows)
    low, high = _widen(min(low, 0.0), max(high, 0.0))
    left, top, bottom = 58, 10, 12
    step_x, scale = (width - left - 12) / len(rows), (height - top - bottom) / (high - low)

    def y(value: float) -> float:
        return height - bottom - (value - low) * scale

    grid = format_html_join(
        "",
        '<line class="grid" x1="{1}" x2="{2}" y1="{0}" y2="{0}"/>'
        '<text x="{3}" y="{0}" dy="4" text-anchor="end">{4}</text>',
        (
            (f"{y(tick):.1f}", left, width - 12, left - 7, f"{round(tick, 10):g}")
            for tick in _ticks(low, high, nice_step(high - low, 6))
        ),
    )
    drawn = format_html_join(
        "",
        '<g class="s{5}"><rect class="bar standby" x="{0}" width="{1}" y="{2}" height="{3}"><title>{6}</title></rect>'
        '<circle class="mark" cx="{7}" cy="{4}" r="3"><title>{6}</title></circle></g>',
        (
            (
                f"{left + step_x * (n + 0.15):.1f}", f"{max(1.0, step_x * 0.7):.1f}", f"{y(row.high):.1f}",
                f"{max(1.0, y(row.low) - y(row.high)):.1f}", f"{y(row.real):.1f}",
                0 if row.low <= row.real <= row.high else 1, row.title, f"{left + step_x * (n + 0.5):.1f}",
            )
            for n, row in enumerate(rows)
        ),
    )  # fmt: skip
    label = format_html(
        '<text class="label" transform="translate(13 {}) rotate(-90)" text-anchor="middle">{}</text>',
        (top + height - bottom) / 2, y_title,
    )  # fmt: skip
    return format_html(
        '<div class="scroll"><svg class="figure" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}</svg></div>',
        width, height, y_title, grid, drawn, label,
    )  # fmt: skip


def legend(labels: Sequence[str]) -> SafeString:
    """Write the labels of series, each with its colour."""
    items = format_html_join(
        "",
        '<li><svg viewBox="0 0 12 12" aria-hidden="true"><g class="s{}">'
        '<rect width="12" height="12" rx="2"/></g></svg>{}</li>',
        ((number % COLOURS, label) for number, label in enumerate(labels)),
    )
    return format_html('<ul class="legend">{}</ul>', items)


def _path(curve: Curve, px: Callable[[float], float], py: Callable[[float], float], most_points: int) -> str:
    stride = max(1, math.ceil(len(curve.x) / most_points))
    text, pen_down = [], False
    for a, b in zip(curve.x[::stride], curve.y[::stride], strict=True):
        if b is None or not math.isfinite(b):
            pen_down = False
            continue
        text.append(f"{'L' if pen_down else 'M'}{px(a):.1f} {py(b):.1f}")
        pen_down = True
    return "".join(text)


def _widen(low: float, high: float) -> tuple[float, float]:
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
