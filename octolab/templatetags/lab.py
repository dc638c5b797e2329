"""How times, durations and values are written on pages."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from octolab.dashboard import words
from octolab.dashboard.thelab import device_title, lab_clock, local_time, module_title, the_lab

register = template.Library()

NOISE = 1e-12
"""What is left of sums that should be zero."""
AT_ONCE_S = 1.0
"""A start within this many real seconds is “at once”."""


@register.filter
def duration(seconds: float | None) -> str:
    """Write a duration in seconds as people say it: ``2 h 05 min``."""
    if seconds is None:
        return "—"
    sign, rest = ("-" if seconds < 0 else ""), abs(seconds)
    if rest < 1:
        return "0 s" if rest < 0.0005 else f"{sign}{rest * 1000:.0f} ms"
    if rest < 100:
        return f"{sign}{rest:.0f} s"
    minutes = round(rest / 60)
    if minutes < 60:
        return f"{sign}{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{sign}{hours} h {minutes:02d} min"
    days, hours = divmod(hours, 24)
    return f"{sign}{days} d {hours} h"


@register.filter
def lab_time(lab_s: float | None) -> SafeString | str:
    """Write a lab second as the lab's clock shows it; the full date stands in the tooltip."""
    if lab_s is None:
        return "—"
    then, now = local_time(lab_s), local_time(lab_clock().now())
    text = then.strftime("%H:%M:%S") if then.date() == now.date() else then.strftime("%a %d %b, %H:%M")
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', then.isoformat(), f"{then:%Y-%m-%d %H:%M:%S %Z}", text
    )


@register.filter
def from_now(lab_s: float | None) -> str:
    """Write how far a lab second is from now: ``in 12 min``, ``3 s ago``."""
    if lab_s is None:
        return "—"
    gap_s = lab_s - lab_clock().now()
    return f"in {duration(gap_s)}" if gap_s >= 0 else f"{duration(-gap_s)} ago"


@register.filter
def due(lab_s: float | None) -> str:
    """Write when something that goes on is expected to end: ``in 12 min``, ``3 min overdue``."""
    if lab_s is None:
        return "—"
    gap_s = lab_s - lab_clock().now()
    return f"in {duration(gap_s)}" if gap_s >= 0 else f"{duration(-gap_s)} overdue"


@register.filter
def starts(lab_s: float | None) -> str:
    """Write when something would begin: ``at once``, ``in 12 min``."""
    if lab_s is None:
        return "—"
    clock = lab_clock()
    return "at once" if lab_s <= clock.now() + AT_ONCE_S * clock.scale else from_now(lab_s)


@register.filter
def value(number: Any) -> str:
    """Write a measured value with four significant digits."""
    if number is None:
        return "—"
    if isinstance(number, bool) or not isinstance(number, int | float):
        return str(number)
    if isinstance(number, int):
        return str(number)
    if abs(number) < NOISE:
        return "0"
    if not math.isfinite(number):
        return "not a number" if math.isnan(number) else str(number)
    return f"{number:.4g}" if abs(number) < 1e4 else f"{number:,.0f}"


@register.filter
def with_unit(number: Any, unit: str) -> str:
    """Write a value with its unit; things that are counted have the unit 1, which is not written."""
    return value(number) if unit in {"", "1"} else f"{value(number)} {unit}"


@register.filter
def prose(text: str) -> SafeString:
    """Write a sentence, with what stands between backticks as code."""
    parts = str(text).split("`")
    if len(parts) % 2 == 0:
        return format_html("{}", text)
    return format_html_join(
        "", "{}", ((format_html("<code>{}</code>", p) if n % 2 else p,) for n, p in enumerate(parts))
    )


@register.filter
def devices(ids: Iterable[str]) -> str:
    """Write devices as people call them: ``Robot arm, Pipette``."""
    return ", ".join(device_title(name) for name in ids)


@register.filter
def device(name: str) -> str:
    """Write a device as people call it."""
    return device_title(name)


@register.filter
def modules(ids: Iterable[str]) -> str:
    """Write modules as people call them: ``Batch synthesis and UV-Vis spectroscopy``."""
    return " and ".join(module_title(name) for name in ids)


@register.filter
def module(name: str) -> str:
    """Write a module, or the whole lab, as people call it."""
    return "the whole lab" if name == "lab" else module_title(name)


for written in (words.place_kind, words.place, words.thing, words.reading, words.task_key, words.plain, words.used):
    register.filter(written.__name__, written)
register.filter("step_title", words.step)


@register.filter
def things(ids: Iterable[str]) -> str:
    """Write several devices and modules as people call them: ``Robot arm, Batch synthesis``."""
    return ", ".join(map(words.thing, ids))


@register.filter
def places(names: Iterable[str]) -> str:
    """Write several places as people call them."""
    return ", ".join(map(words.place, names))


_STATES = {"estopped": "emergency stop"}
"""State → what people call it, where that is something else."""


@register.simple_tag
def state(name: str, label: str | None = None) -> SafeString:
    """Write a state with its colour: ``Needs operator``."""
    text = (label or _STATES.get(name) or name.replace("_", " ")).lower()
    return format_html('<span class="state s-{}">{}</span>', name, text[:1].upper() + text[1:])


@register.filter
def wall_text(at: datetime) -> str:
    """Write a wall time in the lab's zone as plain text, where no tag may stand."""
    return at.astimezone(ZoneInfo(the_lab().timezone)).strftime("%d %b %H:%M")


@register.filter
def wall_time(at: datetime | None) -> SafeString | str:
    """Write a wall time in the lab's zone, which it names; the tooltip has it to the second and in UTC."""
    if at is None:
        return "—"
    here = at.astimezone(ZoneInfo(the_lab().timezone))
    date = "%a %d %b" if here.year == datetime.now(UTC).year else "%d %b %Y"
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        at.isoformat(),
        f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
        here.strftime(f"{date} %H:%M %Z"),
    )
