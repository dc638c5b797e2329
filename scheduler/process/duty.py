"""Duty: when people may be asked for a step, in lab time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime

from modules.contract.hours import Hours

HORIZON_S = 14 * 86_400.0
"""How far ahead (lab seconds) a plan heeds hours; what is planned later is planned again long before."""


class Duty:
    """Hours of people in lab seconds.

    Parameters
    ----------
    hours
        Person → hours; None for who may always be asked.
    date_of
        Turns a lab second into the lab's date and time.
    """

    def __init__(
        self, hours: Mapping[str, Hours | None] | None = None, date_of: Callable[[float], datetime] | None = None
    ) -> None:
        self.people = frozenset(hours or ())
        self._hours = {person: given for person, given in (hours or {}).items() if given is not None}
        self._date_of = date_of

    def next_s(self, devices: Iterable[str], now_s: float) -> float:
        """Return the lab second from which all people among these devices may be asked; now, if they may."""
        next_s = now_s
        if self._date_of is not None and self._hours:
            at = self._date_of(now_s)
            for device in devices:
                if device in self._hours:
                    next_s = max(next_s, now_s + (self._hours[device].next_opening(at) - at).total_seconds())
        return next_s

    def closed(self, device: str, now_s: float) -> Iterator[tuple[float, float]]:
        """Yield the intervals, from now on, in which somebody may not be asked."""
        if device not in self._hours or self._date_of is None:
            return
        at, until = self._date_of(now_s), self._date_of(now_s + HORIZON_S)
        for shut, opens in self._hours[device].closed(at, until):
            yield now_s + (shut - at).total_seconds(), now_s + (opens - at).total_seconds()
