"""The events doorbell, heard once per process and event loop, for all who wait.

The scheduler rings it after each commit, and sends along what it has to tell those who have just asked: where a job
stands, what came of a wish. Nothing here is the truth, and all of it may be lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import OrderedDict
from typing import Any
from weakref import WeakKeyDictionary

import redis.asyncio
from django.conf import settings
from redis.exceptions import RedisError

from modules.contract.messages import EVENTS_BELL

_log = logging.getLogger(__name__)
_RECONNECT_S = 1.0
_MOST_KEPT = 1000
_IMPATIENT_S = 0.5


class Bell:
    """Wakes those who wait for events, and hands answers to those who wait for them."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()
        self._waiting: dict[str, asyncio.Future[Any]] = {}
        self._kept: OrderedDict[str, Any] = OrderedDict()
        """Answers for which nobody waited yet: the scheduler may be faster than who asked."""
        self._patient_at_s = 0.0
        """Before this loop time nobody waits for an answer, because the last one who did waited in vain."""
        self._listener = asyncio.create_task(self._listen())

    async def wait(self, timeout_s: float) -> bool:
        """Wait for the next ring; return False if there was none for so long (real seconds)."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._rung.wait()
        except TimeoutError:
            return False
        return True

    async def answer(self, key: str, timeout_s: float, *, most: int = 1000) -> Any:
        """Wait for the scheduler's answer, at most for so long (real seconds); None if there is none by then.

        If ``most`` wait already, nobody joins them: who submits many jobs at once shall not wait for each.
        While the scheduler is away or behind, only one now and then waits, to find out whether that has changed; the
        others are not held up in vain.
        """
        if key in self._kept:
            return self._kept.pop(key)
        loop = asyncio.get_running_loop()
        if loop.time() < self._patient_at_s or len(self._waiting) >= most:
            return None
        future = self._waiting[key] = loop.create_future()
        try:
            async with asyncio.timeout(timeout_s):
                found = await future
        except TimeoutError:
            self._patient_at_s = loop.time() + _IMPATIENT_S
            return None
        finally:
            del self._waiting[key]
        return found

    async def close(self) -> None:
        """Stop listening."""
        self._listener.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._listener

    async def _listen(self) -> None:
        away = False
        while True:
            try:
                async with redis.asyncio.Redis.from_url(settings.REDIS_URL) as client, client.pubsub() as channel:
                    await channel.subscribe(EVENTS_BELL)
                    away = False
                    async for message in channel.listen():
                        if message["type"] == "message":
                            self._ring(message["data"])
            except (RedisError, OSError) as error:
                if not away:
                    _log.warning("the doorbells cannot be heard, waiting takes its full time: %s", error)
                away = True
                await asyncio.sleep(_RECONNECT_S)

    def _ring(self, data: bytes) -> None:
        # Everybody who waits now is woken; who comes later waits for the next ring.
        self._rung.set()
        self._rung = asyncio.Event()
        try:
            answers = json.loads(data) if data else {}
        except ValueError:
            return
        for key, answer in answers.items():
            waiting = self._waiting.get(key)
            if waiting is None:
                self._kept[key] = answer
            elif not waiting.done():
                waiting.set_result(answer)
        while len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)


_bells: WeakKeyDictionary[asyncio.AbstractEventLoop, Bell] = WeakKeyDictionary()


def events() -> Bell:
    """Return the bell of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _bells:
        _bells[loop] = Bell()
    return _bells[loop]
