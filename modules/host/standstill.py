"""A host that stood still (suspended, swapped out, its virtual machine paused) may have lost what it was doing.

Its lease may have run out meanwhile and somebody may have decided about its steps, and it knows nothing of that. So
after every standstill the store is asked before anything moves again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from analysis.documents import StoreError

log = logging.getLogger(__name__)

STANDSTILL_S = 4.0
"""Less than half a lease: whoever stood still for a shorter time has lost nothing."""
TICK_S = 0.5
RETRY_S = 0.5


class Standstill:
    """Notices standstills, by a thread that ticks and by everybody who asks.

    Parameters
    ----------
    look : callable
        Asks the store what has become of the running attempts; raises `StoreError` if it does not answer.
    """

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self._lock = threading.Lock()
        self._ticked_s = time.monotonic()
        self._must_look = 0
        """How many standstills there were; 0 once the store was asked after the last one."""
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="standstill", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._ticked_s = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._end.set()

    def before_motion(self) -> None:
        """Return at once as a rule; after a standstill, as soon as the store has told what became of our attempts."""
        while count := self._tick():
            try:
                self._look()
            except StoreError as error:
                log.warning("nothing moves before the store has told what is still ours: %s", error)
                self._end.wait(RETRY_S)
                continue
            with self._lock:
                if self._must_look == count:
                    self._must_look = 0

    def _tick(self) -> int:
        with self._lock:
            now_s = time.monotonic()
            still_s, self._ticked_s = now_s - self._ticked_s, now_s
            if still_s > STANDSTILL_S:
                log.warning("this host stood still for %.0f s", still_s)
                self._must_look += 1
            return self._must_look

    def _run(self) -> None:
        while not self._end.wait(TICK_S):
            self._tick()
