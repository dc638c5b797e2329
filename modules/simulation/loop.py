"""One thread, all instruments: waits for bytes and for the next moment at which something ends."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import selectors
import time
from collections import deque
from collections.abc import Callable

from modules.simulation.clock import Clock

LONGEST_WAIT_S = 0.5


class Loop:
    """A small event loop in lab time. Only `call` and `stop` may be used from other threads.

    Parameters
    ----------
    clock : Clock
        Lab time.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._selector = selectors.DefaultSelector()
        self._lab: list[tuple[float, int, Callable[[], None]]] = []
        self._real: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._calls: deque[Callable[[], None]] = deque()
        self._stopped = self._closed = False
        self._wake_r, self._wake_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake_r, selectors.EVENT_READ, self._drain)

    def watch(self, fd: int, ready: Callable[[], None]) -> None:
        """Call ``ready`` whenever ``fd`` can be read."""
        self._selector.register(fd, selectors.EVENT_READ, ready)

    def unwatch(self, fd: int) -> None:
        """Forget ``fd``."""
        self._selector.unregister(fd)

    def at(self, lab_time: float, what: Callable[[], None]) -> None:
        """Call ``what`` at a lab time."""
        heapq.heappush(self._lab, (lab_time, next(self._order), what))

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        """Call ``what`` after real seconds."""
        heapq.heappush(self._real, (time.monotonic() + seconds, next(self._order), what))

    def call(self, what: Callable[[], None]) -> None:
        """Have ``what`` called in the loop's thread, soon."""
        self._calls.append(what)
        self._wake()

    def stop(self) -> None:
        """End `run`, or keep it from beginning; a loop runs once."""
        self._stopped = True
        self._wake()

    def run(self, after_each: Callable[[], None]) -> None:
        """Run until `stop`; ``after_each`` is called whenever something may have changed."""
        while not self._stopped:
            for key, _ in self._selector.select(self._patience()):
                key.data()
            while self._calls:
                self._calls.popleft()()
            self._due(self._lab, self.clock.now)
            self._due(self._real, time.monotonic)
            after_each()

    def close(self) -> None:
        """Free the descriptors."""
        self._closed = True
        self._selector.close()
        os.close(self._wake_r)
        os.close(self._wake_w)

    def _patience(self) -> float:
        wait = LONGEST_WAIT_S
        if self._lab:
            wait = min(wait, (self._lab[0][0] - self.clock.now()) / self.clock.scale)
        if self._real:
            wait = min(wait, self._real[0][0] - time.monotonic())
        return max(0.0, wait)

    def _due(self, heap: list[tuple[float, int, Callable[[], None]]], now: Callable[[], float]) -> None:
        while heap and heap[0][0] <= now():
            heapq.heappop(heap)[2]()

    def _wake(self) -> None:
        if not self._closed:
            # full means that it is awake already
            with contextlib.suppress(BlockingIOError):
                os.write(self._wake_w, b"x")

    def _drain(self) -> None:
        os.read(self._wake_r, 4096)
