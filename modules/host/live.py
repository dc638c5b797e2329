"""What is told to whoever listens, without ever waiting for it: doorbells and progress over Redis."""

from __future__ import annotations

import logging
import threading
import time

import redis

from modules.contract.messages import LIVE_CHANNEL, SCHEDULER_BELL
from modules.contract.messages import Live as LiveMessage

log = logging.getLogger(__name__)

LIVE_INTERVAL_S = 0.2
"""Progress of one step is published at most this often; the last word is always said."""


def connect_redis(url: str) -> redis.Redis:
    """Return a client that never waits long."""
    return redis.Redis.from_url(url, socket_timeout=10, socket_connect_timeout=2, health_check_interval=10)


class Live:
    """A thread that rings and publishes. What cannot be delivered is dropped: nobody relies on it."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._changed = threading.Condition()
        self._bell = False
        self._messages: dict[tuple[str, str], LiveMessage] = {}
        self._next_live_s = 0.0
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def ring(self) -> None:
        """Tell the scheduler that there is something to look at."""
        with self._changed:
            self._bell = True
            self._changed.notify()

    def publish(self, message: LiveMessage) -> None:
        """Tell everybody how a step is getting on."""
        with self._changed:
            self._messages[message.attempt_id, message.step_id] = message
            self._changed.notify()

    def stop(self) -> None:
        """Say what is left to say, and end."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(5)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._bell or self._ended or self._live_is_due()):
                    wait_s = max(0.0, self._next_live_s - time.monotonic()) if self._messages else None
                    self._changed.wait(wait_s)
                bell, self._bell = self._bell, False
                messages: list[LiveMessage] = []
                if self._live_is_due() or self._ended:
                    messages = list(self._messages.values())
                    self._messages = {}
                    self._next_live_s = time.monotonic() + LIVE_INTERVAL_S
                ended = self._ended
            self._send(bell, messages)
            if ended:
                return

    def _live_is_due(self) -> bool:
        return bool(self._messages) and time.monotonic() >= self._next_live_s

    def _send(self, bell: bool, messages: list[LiveMessage]) -> None:
        try:
            if bell:
                self._client.publish(SCHEDULER_BELL, "host")
            for message in messages:
                self._client.publish(LIVE_CHANNEL, message.model_dump_json())
        except redis.RedisError as error:
            log.debug("nobody was told: %s", error)
