"""The events doorbell, heard once per process and event loop, for all who wait."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from weakref import WeakKeyDictionary

import redis.asyncio
from django.conf import settings
from redis.exceptions import RedisError

from modules.contract.messages import EVENTS_BELL

_log = logging.getLogger(__name__)
_RECONNECT_S = 1.0


class Bell:
    """Wakes everybody who waits when the scheduler has committed events. It carries no truth and may be lost."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()
        self._listener = asyncio.create_task(self._listen())

    async def wait(self, timeout_s: float) -> bool:
        """Wait for the next ring; return False if there was none for so long (real seconds)."""
        if self._listener.done():
            self._listener = asyncio.create_task(self._listen())
        try:
            async with asyncio.timeout(timeout_s):
                await self._rung.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Stop listening."""
        self._listener.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._listener

    async def _listen(self) -> None:
        while True:
            try:
                async with redis.asyncio.Redis.from_url(settings.REDIS_URL) as client, client.pubsub() as channel:
                    await channel.subscribe(EVENTS_BELL)
                    async for _ in channel.listen():
                        # Everybody who waits now is woken; who comes later waits for the next ring.
                        self._rung.set()
                        self._rung = asyncio.Event()
            except (RedisError, OSError) as error:
                _log.warning("the doorbells cannot be heard, waiting takes its full time: %s", error)
                await asyncio.sleep(_RECONNECT_S)


_bells: WeakKeyDictionary[asyncio.AbstractEventLoop, Bell] = WeakKeyDictionary()


def events() -> Bell:
    """Return the bell of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _bells:
        _bells[loop] = Bell()
    return _bells[loop]
