"""A Bluesky status that a thread completes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class ThreadStatus:
    """Runs ``work`` in a thread of its own and is done when it returns (`bluesky.protocols.Status`).

    Parameters
    ----------
    work : callable
        Takes nothing. What it raises becomes the status's exception.
    name : str
        Name of the thread.
    """

    def __init__(self, work: Callable[[], Any], name: str) -> None:
        self._finished = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[ThreadStatus], None]] = []
        self._error: BaseException | None = None
        self._work = work
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error
        with self._lock:
            self._finished.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)

    def add_callback(self, callback: Callable[[ThreadStatus], None]) -> None:
        """Call ``callback(status)`` when done; at once if it is done already."""
        with self._lock:
            if not self._finished.is_set():
                self._callbacks.append(callback)
                return
        callback(self)

    def exception(self, timeout: float | None = 0.0) -> BaseException | None:
        """Return what went wrong, or None; raise `TimeoutError` if not done within ``timeout`` seconds."""
        if not self._finished.wait(timeout):
            raise TimeoutError("the status is not done yet")
        return self._error

    def wait(self, timeout: float | None = None) -> None:
        """Block until done; raise what went wrong."""
        if (error := self.exception(timeout)) is not None:
            raise error

    @property
    def done(self) -> bool:
        """True once the work has ended, well or badly."""
        return self._finished.is_set()

    @property
    def success(self) -> bool:
        """True once the work has ended well."""
        return self._finished.is_set() and self._error is None
