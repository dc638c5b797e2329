"""How often somebody has come within the last minute, counted in this process and shared among all web processes.

Counting costs no round trip: each process counts for itself, and once a second puts what it has counted together with
what the others have, in Redis. While Redis is away each process goes on alone, so that a limit is at worst multiplied
by the number of web processes, and nobody is refused for it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from threading import Lock
from typing import Any
from weakref import WeakSet

import redis.asyncio
from django.conf import settings
from redis.exceptions import RedisError

_log = logging.getLogger(__name__)
WINDOW_S = 60
SHARE_EVERY_S = 1.0
_GRAIN = 0.01
"""Part of a limit that a process may count before it tells the others."""
_MOST_KEYS = 50_000
"""Of which counts are kept; beyond, the oldest are forgotten."""
_MOST_SHARED = 1000
"""At a time."""
_TIMEOUT_S = 1.0


@dataclass(slots=True)
class _Count:
    """One key's count in the present window and in the one before."""

    window: int
    current: int = 0
    previous: int = 0
    unshared: int = 0

    def move_to(self, window: int) -> None:
        """Begin a new window if one has begun."""
        if window != self.window:
            self.previous = self.current if window == self.window + 1 else 0
            self.window, self.current, self.unshared = window, 0, 0


class Rates:
    """Counts of the last minute: the present window's, and of the one before as much as still lies within a minute."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._counts: dict[str, _Count] = {}
        self._to_share: set[str] = set()
        self._lock = Lock()
        self._sharing: WeakSet[asyncio.AbstractEventLoop] = WeakSet()
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, key: str, limit: int) -> int | None:
        """Count one more, or return after how many seconds to come again if that would be too many in a minute.

        Parameters
        ----------
        limit
            How many are allowed in a minute; 0 for no limit.
        """
        if limit <= 0:
            return None
        now_s = time.time()
        window, gone_s = divmod(now_s, WINDOW_S)
        with self._lock:
            count = self._counts.get(key) or self._begin(key, int(window))
            count.move_to(int(window))
            within = count.previous * (1 - gone_s / WINDOW_S) + count.current
            if within + 1 > limit:
                return _wait_s(count, gone_s, limit)
            count.current += 1
            count.unshared += 1
            if count.unshared >= limit * _GRAIN:
                self._to_share.add(key)
        return None

    def forget(self) -> None:
        """Begin anew."""
        with self._lock:
            self._counts.clear()
            self._to_share.clear()

    def share(self) -> None:
        """Put counts together with those of the other processes from now on, in the running event loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._sharing:
            self._sharing.add(loop)
            task = loop.create_task(self._share_on(), name="rates")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _begin(self, key: str, window: int) -> _Count:
        if len(self._counts) >= _MOST_KEYS:
            for old in list(islice(self._counts, _MOST_KEYS // 2)):
                del self._counts[old]
        return self._counts.setdefault(key, _Count(window))

    async def _share_on(self) -> None:
        away = False
        while True:
            await asyncio.sleep(SHARE_EVERY_S)
            if not self._to_share:
                continue
            try:
                async with asyncio.timeout(_TIMEOUT_S * 2):
                    await self._share_once()
                away = False
            except (RedisError, OSError, TimeoutError) as error:
                if not away:
                    _log.warning("Redis is away: each web process counts requests for itself: %s", error)
                away = True
            except Exception:
                _log.exception("the counts of requests could not be shared; trying again")

    async def _share_once(self) -> None:
        told = list(self._taken())
        async with redis.asyncio.from_url(
            self._url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S
        ) as client:
            pipeline: Any = client.pipeline(transaction=False)
            for key, window, number in told:
                name = f"octolab:rate:{key}:"
                pipeline.incrby(f"{name}{window}", number)
                pipeline.expire(f"{name}{window}", 2 * WINDOW_S)
                pipeline.get(f"{name}{window - 1}")
            answers = await pipeline.execute()
        with self._lock:
            for (key, window, _), total, before in zip(told, answers[::3], answers[2::3], strict=True):
                count = self._counts.get(key)
                if count is not None and count.window == window:
                    count.current = int(total) + count.unshared
                    count.previous = max(count.previous, int(before or 0))

    def _taken(self) -> Iterator[tuple[str, int, int]]:
        """Yield what is to be told to the others: key, window and how many more. It counts as told."""
        with self._lock:
            keys = [self._to_share.pop() for _ in range(min(_MOST_SHARED, len(self._to_share)))]
            for key in keys:
                count = self._counts.get(key)
                if count is not None and count.unshared:
                    yield key, count.window, count.unshared
                    count.unshared = 0


def _wait_s(count: _Count, gone_s: float, limit: int) -> int:
    """Return after how long one more is within the limit again, in whole seconds from 1."""
    left_s = WINDOW_S - gone_s
    if count.current + 1 > limit:
        # Until the window ends, and enough of it lies more than a minute back.
        return math.ceil(left_s + WINDOW_S * max(0.0, 1 - (limit - 1) / count.current))
    room = limit - 1 - count.current
    return max(1, math.ceil(WINDOW_S * (1 - room / count.previous) - gone_s))


@cache
def rates() -> Rates:
    """Return the counts of this process."""
    return Rates(settings.REDIS_URL)
