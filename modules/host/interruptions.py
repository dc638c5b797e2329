"""How an action is asked to pause or to end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime

from modules.contract.messages import Control


class Interruption(BaseException):
    """Ends an action from outside. Not an ``Exception``: code that catches those must not swallow it."""

    def __init__(self, actor: str, reason: str) -> None:
        self.actor = actor
        self.reason = reason
        super().__init__(f"{actor}: {reason}" if reason else actor)


class Stopped(Interruption):
    """Somebody asked to finish early: clean up; what was recorded is kept and counts as a success."""


class Aborted(Interruption):
    """Somebody asked to give up: clean up; the step counts as aborted."""


class Halted(Aborted):
    """Somebody asked to give up without any clean-up: no command reaches a device any more."""


class CommandRefused(Exception):  # noqa: N818 - reads as what happened
    """A command was not sent to a device; the text names the device, the command and the reason."""


def emergency_text(actor: str, reason: str) -> str:
    """Return how an emergency stop is told."""
    return f"emergency stop by {actor}" + (f": {reason}" if reason else "")


class Interruptions:
    """What was asked of one running attempt. Written by the control thread, read by the action.

    Each change calls the ``listeners``, which must not block.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._paused_by = ""
        self._stop: Stopped | None = None
        self._abort: Aborted | None = None
        self._seen: set[tuple[str, datetime]] = set()
        self.emergency = ""
        """What emergency stop covered the attempt, also if it was re-armed since."""
        self.listeners: list[Callable[[], None]] = []

    # ------------------------------------------------------------------ asked for

    def apply(self, control: Control) -> None:
        """Take over a control; one that was applied before changes nothing."""
        with self._changed:
            # the store keeps milliseconds, the message over Redis has microseconds
            at = control.at.replace(microsecond=control.at.microsecond // 1000 * 1000)
            key = (control.verb, at)
            if key in self._seen:
                return
            self._seen.add(key)
            match control.verb:
                case "pause":
                    self._paused_by = control.actor
                case "resume":
                    self._paused_by = ""
                case "stop":
                    self._stop = Stopped(control.actor, control.reason)
                    self._paused_by = ""
                case "abort":
                    self._abort = self._abort or Aborted(control.actor, control.reason)
                case "halt":
                    self._abort = Halted(control.actor, control.reason)
            self._changed.notify_all()
        self._tell()

    def emergency_stop(self, actor: str, reason: str) -> None:
        """The emergency stop covers this attempt."""
        with self._changed:
            self.emergency = emergency_text(actor, reason)
            self._abort = Halted(actor, self.emergency)
            self._changed.notify_all()
        self._tell()

    def give_up(self, actor: str, reason: str) -> None:
        """The host has to end: as if somebody had asked to abort."""
        with self._changed:
            self._abort = self._abort or Aborted(actor, reason)
            self._changed.notify_all()
        self._tell()

    def revoke(self, why: str) -> None:
        """The attempt is no longer this host's: nothing may be sent to a device any more."""
        with self._changed:
            self._abort = Halted("octolab", why)
            self._changed.notify_all()
        self._tell()

    def _tell(self) -> None:
        for listener in list(self.listeners):
            listener()

    # ------------------------------------------------------------------ asked about

    @property
    def paused(self) -> bool:
        """Whether a pause is asked for."""
        return bool(self._paused_by)

    @property
    def stop(self) -> Stopped | None:
        """The stop that was asked for and not raised yet."""
        return self._stop

    @property
    def abort(self) -> Aborted | None:
        """The abort or halt that was asked for."""
        return self._abort

    @property
    def halted(self) -> Halted | None:
        """The halt, emergency stop or revocation, if there is one."""
        return self._abort if isinstance(self._abort, Halted) else None

    def take_stop(self) -> Stopped | None:
        """Return the stop that was asked for, once."""
        with self._changed:
            stop, self._stop = self._stop, None
            return stop

    # ------------------------------------------------------------------ taking effect

    def raise_if_ending(self) -> None:
        """Raise what ends the action, if anything does."""
        if self._abort is not None:
            raise self._abort
        if (stop := self.take_stop()) is not None:
            raise stop

    def wait_while_paused(self, on_pause: Callable[[], None] | None = None) -> bool:
        """Block as long as a pause is asked for and nothing ends the action; return whether it waited."""
        with self._changed:
            if not self._paused_by or self._abort or self._stop:
                return False
            if on_pause is not None:
                on_pause()
            while self._paused_by and not self._abort and not self._stop:
                self._changed.wait()
            return True

    def wait_for_change(self, timeout_s: float) -> None:
        """Block until something is asked for, or until the time is up."""
        with self._changed:
            self._changed.wait(timeout_s)

    def sleep(self, real_s: float, *, wakes: Callable[[], bool]) -> float:
        """Sleep; return the real seconds that were left when ``wakes()`` became true (0 if it never did)."""
        end = time.monotonic() + real_s
        with self._changed:
            while (left := end - time.monotonic()) > 0:
                if wakes():
                    return left
                self._changed.wait(left)
        return 0.0
