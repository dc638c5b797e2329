"""Waiting for one message on a line."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from modules.drivers.errors import BadReply, DeviceError, Timeout
from modules.drivers.wire import Command


class Line(Protocol):
    """What a waiter needs of its port."""

    def distrust(self) -> None:
        """Let the line fall quiet before the next command."""
        ...

    def forget(self, waiter: Waiter) -> None:
        """Hand the waiter nothing any more."""
        ...


class Waiter:
    """Somebody who waits for one message."""

    def __init__(self, command: Command, accept: Callable[[bytes], bool], line: Line) -> None:
        self.command = command
        self.accept = accept
        self.written = False
        self.listening = True
        self._line = line
        self._done = threading.Event()
        self._message: bytes | None = None
        self._error: DeviceError | None = None
        self._noise = bytearray()

    def put(self, message: bytes) -> None:
        """Hand over the message."""
        self._message = message
        self._done.set()

    def fail(self, error: DeviceError) -> None:
        """End the wait with an error."""
        if not self._done.is_set():
            self._error = error
            self._done.set()

    def noise(self, data: bytes) -> None:
        """Remember bytes that made no acceptable message, for the error's text."""
        if len(self._noise) < 60:
            self._noise += data[:60]

    @property
    def done(self) -> bool:
        """True when there is a message or an error to collect."""
        return self._done.is_set()

    def result(self, timeout: float) -> bytes:
        """Return the message, or raise what ended the wait.

        Raises
        ------
        Timeout, BadReply
            Nothing came, or only nonsense, within ``timeout`` real seconds.
        LinkLost, Stopped
        """
        if not self._done.wait(timeout):
            self._line.distrust()
            name, text, unsure = self.command.device, str(self.command), self.command.moves
            if self._noise:
                heard = bytes(self._noise)
                raise BadReply(name, f"answered {heard!r}, which makes no sense", command=text, uncertain=unsure)
            raise Timeout(name, f"no answer within {timeout:g} s", command=text, uncertain=unsure)
        if self._error is not None:
            raise self._error
        assert self._message is not None  # noqa: S101 - set together with the event
        return self._message

    def forget(self) -> None:
        """Wait no longer."""
        self._line.forget(self)
