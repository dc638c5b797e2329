"""Rings the scheduler. A ring carries no truth: without Redis the scheduler looks by itself a moment later."""

from __future__ import annotations

import logging
import threading
import time

import redis
from django.conf import settings

from modules.contract.messages import SCHEDULER_BELL

_log = logging.getLogger(__name__)
_TIMEOUT_S = 0.5
_SILENT_S = 5.0
_lock = threading.Lock()
_clients: dict[str, redis.Redis] = {}
_silent_until_s = 0.0


def ring_scheduler() -> None:
    """Wake the scheduler; call it after the commit. Never raises, and waits at most for half a second."""
    global _silent_until_s
    if time.monotonic() < _silent_until_s:
        return
    try:
        _client().publish(SCHEDULER_BELL, "")
    except (redis.RedisError, OSError) as error:
        _silent_until_s = time.monotonic() + _SILENT_S
        _log.warning("the scheduler cannot be rung, it will look by itself: %s", error)


def _client() -> redis.Redis:
    url = settings.REDIS_URL
    with _lock:
        if url not in _clients:
            _clients[url] = redis.Redis.from_url(url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S)
        return _clients[url]
