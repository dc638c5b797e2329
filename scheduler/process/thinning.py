"""What grows with every plan is thinned out behind the last days: a few hundred rows at a time, between two turns.

Of the versions of the plan the last one of each hour stays; of what a job was told, what it was told first and last;
of the events, all but those that only say that there was a new version of the plan.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

from django.conf import settings
from django.db.models import Max

from scheduler.models import Event, PlanVersion, Prediction
from scheduler.process.changes import Changes

EVERY_S = 10.0
"""Real seconds between two pieces of work …"""
REST_S = 3600.0
"""… and once everything has been looked at."""
PIECE = 300
"""Rows looked at in one piece of work."""
_HOUR = timedelta(hours=1)

Doomed = list[Any]
Table = type[PlanVersion] | type[Prediction] | type[Event]
Piece = tuple[Table, Doomed]


class Thinning:
    """Goes through the tables again and again, and remembers how far it has come."""

    def __init__(self) -> None:
        self._next_s = time.monotonic() + EVERY_S
        self._pieces: Iterator[Piece] | None = None

    def go_on(self, changes: Changes) -> None:
        """Have a few rows deleted with these changes, if it is time for that."""
        if time.monotonic() < self._next_s:
            return
        if self._pieces is None:
            self._pieces = pieces(changes.at - timedelta(days=settings.HISTORY_DAYS))
        piece = next(self._pieces, None)
        if piece is None:
            self._pieces = None
        elif piece[1]:
            changes.writes.append(partial(_delete, *piece))
        self._next_s = time.monotonic() + (REST_S if piece is None else EVERY_S)


def pieces(until: datetime) -> Iterator[Piece]:
    """Yield what is to be deleted of all that was made until then, a few rows at a time."""
    for model, key, look in _TABLES:
        cursor: Any = None
        while True:
            rows = model.objects.order_by(key)
            doomed, last = look(rows if cursor is None else rows.filter(**{f"{key}__gte": cursor}), until)
            yield model, doomed
            if last is None or last == cursor:
                break
            cursor = last


def _versions(rows: Any, until: datetime) -> tuple[Doomed, Any]:
    """Of each hour the last one stays, and with it what it was judged by."""
    found: list[tuple[int, datetime]] = list(rows.values_list("version", "made_at")[: PIECE + 1])
    old = [(version, at) for version, at in found if at < until]
    doomed = [version for (version, at), (_, after) in pairwise(old) if _hour(at) == _hour(after)]
    return doomed, _cursor(found, old)


def _predictions(rows: Any, until: datetime) -> tuple[Doomed, Any]:
    """What a job was told first and last stays."""
    found: list[tuple[Any, ...]] = list(rows.values_list("id", "made_at", "first", "job_id")[: PIECE + 1])
    old = [row for row in found if row[1] < until]
    between = [(pk, job) for pk, _, first, job in old if not first]
    jobs = {job for _, job in between}
    last = dict(Prediction.objects.filter(job_id__in=jobs).values("job_id").annotate(last=Max("id")).values_list(
        "job_id", "last"))  # fmt: skip
    return [pk for pk, job in between if last.get(job) != pk], _cursor(found, old)


def _events(rows: Any, until: datetime) -> tuple[Doomed, Any]:
    found: list[tuple[Any, ...]] = list(rows.values_list("seq", "at", "kind")[: PIECE + 1])
    old = [row for row in found if row[1] < until]
    return [seq for seq, _, kind in old if kind == "plan"], _cursor(found, old)


def _cursor(found: Sequence[tuple[Any, ...]], old: Sequence[tuple[Any, ...]]) -> Any:
    """Return where to go on; None if nothing old is left."""
    return old[-1][0] if len(found) > PIECE and len(old) == len(found) else None


def _hour(at: datetime) -> datetime:
    return at - (at - datetime.min.replace(tzinfo=at.tzinfo)) % _HOUR


def _delete(model: Table, keys: Doomed) -> None:
    model.objects.filter(pk__in=keys).delete()


_TABLES: tuple[tuple[Table, str, Callable[[Any, datetime], tuple[Doomed, Any]]], ...] = (
    (PlanVersion, "version", _versions),
    (Prediction, "id", _predictions),
    (Event, "seq", _events),
)
