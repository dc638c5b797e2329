"""Doorbells over Redis, in and out. They carry no truth: without Redis the loop polls instead."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

import redis
import structlog

from modules.contract.messages import CONTROL_CHANNEL, EVENTS_BELL, LATCH_BELL, SCHEDULER_BELL, Control

log = structlog.get_logger("octolab.scheduler")

RETRY_S = 0.5
LATCH = LATCH_BELL.encode()
QUESTION = b"question"
"""What somebody rings with who has put a question into a list."""
_TIMEOUTS: dict[str, Any] = {"socket_timeout": 2.0, "socket_connect_timeout": 1.0}


class Bell:
    """Wakes the loop when somebody rings, from a thread that listens."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._rung = threading.Event()
        self._listening = threading.Event()
        self._stop = False
        self._asked = False
        self._latched = False
        self._thread = threading.Thread(target=self._listen, name="bell", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def ring(self) -> None:
        """Wake the loop from inside the process."""
        self._rung.set()

    def wait(self, timeout_s: float) -> bool:
        """Sleep until rung, at most for so long; return whether it was rung."""
        rung = self._rung.wait(max(0.0, timeout_s))
        self._rung.clear()
        return rung

    @property
    def rung(self) -> bool:
        """Whether something is to be done at once."""
        return self._rung.is_set()

    def take_asked(self) -> bool:
        """Whether somebody has put a question since the last call (or may have, while nobody listened)."""
        asked, self._asked = self._asked, False
        return asked

    def take_latched(self) -> bool:
        """Whether an emergency stop may have changed since the last call."""
        latched, self._latched = self._latched, False
        return latched

    @property
    def connected(self) -> bool:
        """Whether Redis can be heard at the moment."""
        return self._listening.is_set()

    def stop(self) -> None:
        """Stop listening, soon."""
        self._stop = True
        self.ring()

    def _listen(self) -> None:
        while not self._stop:
            try:
                with redis.Redis.from_url(self._url, health_check_interval=5, **_TIMEOUTS) as client:
                    pubsub = client.pubsub(ignore_subscribe_messages=True)
                    pubsub.subscribe(SCHEDULER_BELL)
                    self._listening.set()
                    self._asked = self._latched = True
                    self._rung.set()
                    while not self._stop:
                        if (message := pubsub.get_message(timeout=1.0)) is not None:
                            self._asked = self._asked or message["data"] == QUESTION
                            self._latched = self._latched or message["data"] == LATCH
                            self._rung.set()
            except redis.RedisError as error:
                if self._listening.is_set():
                    log.warning("redis is away, polling instead", error=str(error)[:200])
                self._listening.clear()
                time.sleep(RETRY_S)


class Ringer:
    """Rings others and leaves answers for those who wait; whatever fails here is only late."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url, **_TIMEOUTS)
        self._silent_until_s = 0.0

    def events(self, answers: Mapping[str, Any]) -> None:
        """Ring the web processes, with the answers they may wait for; push these to lists too, for who waits there."""

        def commands(pipe: Any) -> None:
            for key, value in answers.items():
                pipe.rpush(key, json.dumps(value))
                pipe.expire(key, 5)
            pipe.publish(EVENTS_BELL, json.dumps(answers) if answers else "")

        self._try(commands)

    def controls(self, controls: Iterable[Control]) -> None:
        """Ring hosts about controls, which are written already."""

        def commands(pipe: Any) -> None:
            for control in controls:
                pipe.publish(CONTROL_CHANNEL, control.model_dump_json())

        self._try(commands)

    def questions(self, key: str, count: int) -> list[dict[str, Any]]:
        """Take up to so many questions out of a list."""
        try:
            if time.monotonic() < self._silent_until_s:
                return []
            found: Any = self._client.lpop(key, count)
        except redis.RedisError:
            self._be_silent()
            return []
        questions = []
        for text in found or ():
            try:
                questions.append(json.loads(text))
            except ValueError:
                log.warning("a question that is not JSON was dropped")
        return questions

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _try(self, commands: Any) -> None:
        if time.monotonic() < self._silent_until_s:
            return
        try:
            with self._client.pipeline(transaction=False) as pipe:
                commands(pipe)
                pipe.execute()
        except redis.RedisError:
            self._be_silent()

    def _be_silent(self) -> None:
        self._silent_until_s = time.monotonic() + RETRY_S
