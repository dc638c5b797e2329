"""When a person is there: opening hours by the week, as people write them: ``Mon-Fri 08:00-18:00, Sat 09:00-12:00``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SPAN = re.compile(r"([a-z]{3})(?:\s*-\s*([a-z]{3}))?\s+(\d\d:\d\d)\s*-\s*(\d\d:\d\d)", re.IGNORECASE)


class HoursError(ValueError):
    """A text says no opening hours; the text of the error says how they are written."""


@dataclass(frozen=True)
class Hours:
    """Opening hours that repeat every week, in a lab's time zone.

    Attributes
    ----------
    spans
        (weekday from 0 for Monday, opens, closes), sorted; minutes since midnight.
    """

    spans: tuple[tuple[int, int, int], ...]
    zone: ZoneInfo

    def next_opening(self, at: datetime) -> datetime:
        """Return when it is next open: ``at`` itself if it is open then."""
        for opens, closes in self._from(at):
            if closes > at:
                return max(opens, at)
        raise AssertionError

    def closed(self, since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Yield the intervals between two moments in which it is closed."""
        shut = since
        for opens, closes in self._from(since):
            if shut >= until:
                return
            if opens > shut:
                yield shut, min(opens, until)
            shut = max(shut, closes)

    def _from(self, at: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Yield open intervals for ever, beginning with the day of a moment."""
        day = at.astimezone(self.zone).date()
        while True:
            for weekday, opens, closes in self.spans:
                if weekday == day.weekday():
                    yield self._moment(day, opens), self._moment(day, closes)
            day += timedelta(days=1)

    def _moment(self, day: date, minutes: int) -> datetime:
        # Through the wall clock, so that 08:00 is 08:00 on the day of a clock change too.
        days, rest = divmod(minutes, 24 * 60)
        return datetime.combine(day + timedelta(days=days), time(rest // 60, rest % 60), self.zone)


def parse(text: str, zone: ZoneInfo) -> Hours:
    """Read opening hours.

    Raises
    ------
    HoursError
        If the text says none.
    """
    spans: set[tuple[int, int, int]] = set()
    for part in re.split(r"[,;]", text):
        match = _SPAN.fullmatch(part.strip())
        if match is None:
            raise HoursError(f"{part.strip()!r} says no hours; write them like 'Mon-Fri 08:00-18:00, Sat 09:00-12:00'")
        first, last = match[1].lower(), (match[2] or match[1]).lower()
        if first not in _DAYS or last not in _DAYS:
            raise HoursError(f"{part.strip()!r}: the days are {', '.join(day.capitalize() for day in _DAYS)}")
        opens, closes = _minutes(match[3]), _minutes(match[4])
        if opens >= closes:
            raise HoursError(f"{part.strip()!r}: it closes before it opens; write a night as two spans")
        day = _DAYS.index(first)
        while True:
            spans.add((day, opens, closes))
            if day == _DAYS.index(last):
                break
            day = (day + 1) % 7
    return Hours(_merged(spans), zone)


def _minutes(text: str) -> int:
    hours, minutes = map(int, text.split(":"))
    if hours * 60 + minutes > 24 * 60 or minutes > 59:
        raise HoursError(f"{text!r} is no time of day; write 00:00 to 24:00")
    return hours * 60 + minutes


def _merged(spans: set[tuple[int, int, int]]) -> tuple[tuple[int, int, int], ...]:
    merged: list[tuple[int, int, int]] = []
    for day, opens, closes in sorted(spans):
        if merged and merged[-1][0] == day and opens <= merged[-1][2]:
            merged[-1] = (day, merged[-1][1], max(closes, merged[-1][2]))
        else:
            merged.append((day, opens, closes))
    return tuple(merged)
