"""What all serial devices have in common: connecting, waiting for motions, stopping."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from modules.drivers.clock import Clock, RealClock
from modules.drivers.errors import DeviceError, Stopped, Timeout
from modules.drivers.port import SerialPort
from modules.drivers.wire import Command, Wire

POLL_LAB_S = 0.2
POLL_FLOOR_S = 0.002
MOTION_GRACE_S = 3.0
CONFIRM_S = 0.08


@dataclass(frozen=True)
class DeviceStatus:
    """What an instrument says of itself.

    Attributes
    ----------
    state : str
        ``"idle"``, ``"busy"``, ``"unhomed"``, ``"stopped"`` or ``"error"``.
    detail : dict
        The instrument's own figures; keys end in their unit (``speed_rpm``, ``temperature_degc``).
    """

    state: str
    detail: dict[str, Any] = field(default_factory=dict)


class SerialDevice:
    """A device on a serial port.

    Nothing moves by itself: neither the constructor nor `connect` nor a reconnection sends anything but
    queries.

    Parameters
    ----------
    name : str
        Id of the device in the lab.
    port : SerialPort
        The port it is plugged into; devices on one bus share it.
    clock : Clock, optional
        Lab time, for motions and poll intervals; real time by default.
    """

    wire: ClassVar[Wire] = Wire()
    parent = None

    def __init__(self, name: str, port: SerialPort, *, clock: Clock | None = None) -> None:
        self.name = name
        self.port = port
        self.clock: Clock = clock or RealClock()
        self._known_generation = 0
        self._stop = threading.Event()
        self._last_command = ""

    # ------------------------------------------------------------------ to be written by each driver

    def _identify(self) -> None:
        """Check, by queries only, that the right instrument answers."""
        raise NotImplementedError

    def status(self) -> DeviceStatus:
        """Ask the instrument how it is.

        Raises
        ------
        DeviceError
            The instrument does not answer, or not sensibly.
        """
        raise NotImplementedError

    def _halt(self, deadline: float) -> bool:
        """Write the urgent stop, and return whether the instrument shows that it took it.

        Parameters
        ----------
        deadline : float
            Monotonic seconds by which to give up.
        """
        raise NotImplementedError

    # ------------------------------------------------------------------ link

    def connect(self) -> None:
        """Open the port and ask the instrument who it is.

        Raises
        ------
        DeviceError
            No such port, no answer, or another instrument.
        """
        if self.port.connected and self._known_generation == self.port.generation:
            return
        self.port.open(self.name)
        # set first: the queries of _identify come through here again
        before, self._known_generation = self._known_generation, self.port.generation
        try:
            self._identify()
        except BaseException:
            self._known_generation = before
            raise

    def close(self) -> None:
        """Leave the port. Nothing is sent."""
        self._known_generation = 0
        self.port.close(self.name)

    def _ask(
        self,
        data: bytes,
        accept: Callable[[bytes], bool],
        *,
        moves: bool = False,
        stop: threading.Event | None = None,
        timeout: float | None = None,
    ) -> bytes:
        self.connect()
        command = Command(self.name, data, moves)
        if moves:
            self._last_command = str(command)
        return self.port.ask(command, accept, stop=stop, timeout=timeout)

    def _tell(self, data: bytes, *, moves: bool = False, stop: threading.Event | None = None) -> None:
        self.connect()
        command = Command(self.name, data, moves)
        if moves:
            self._last_command = str(command)
        self.port.tell(command, stop=stop)

    # ------------------------------------------------------------------ motions

    def _wait(self, finished: Callable[[], bool], limit: float, stop: threading.Event, what: str) -> None:
        """Poll until ``finished()``; the port is free between two polls.

        Parameters
        ----------
        finished : callable
            Asks the instrument; true when the motion has ended.
        limit : float
            Lab seconds the motion may take; a grace of some real seconds is added for this computer's
            hiccups.
        stop : threading.Event
            Set when the device was brought to its safe state.
        what : str
            The motion, for the error's text.
        """
        scale = self.clock.scale
        pause = max(POLL_FLOOR_S, POLL_LAB_S / scale)
        deadline = time.monotonic() + limit / scale + MOTION_GRACE_S
        while not finished():
            if stop.wait(pause):
                raise Stopped(self.name, f"was stopped during {what}", command=self._last_command, uncertain=True)
            if time.monotonic() > deadline:
                raise Timeout(
                    self.name,
                    f"{what} did not end within {limit:g} lab seconds",
                    command=self._last_command,
                    advice="Look whether it is blocked; bring it to its safe state before you touch it.",
                    uncertain=True,
                )
        if stop.is_set():
            raise Stopped(self.name, f"was stopped during {what}", command=self._last_command, uncertain=True)

    def safe_state(self) -> bool:
        """Stop motion, heat and stirring now.

        Never waits for the port: the stop is written out of band, whoever holds the lock, and every call of
        this device that is under way ends with `Stopped`.

        Returns
        -------
        bool
            True when the instrument itself showed that it has stopped; False when that is not known, also
            when there is no link. Never raises.
        """
        before, self._stop = self._stop, threading.Event()
        before.set()
        deadline = time.monotonic() + CONFIRM_S
        try:
            self.port.open(self.name)
            return self._halt(deadline)
        except (DeviceError, OSError, ValueError):
            return False


def remaining(deadline: float) -> float:
    """Return the seconds until ``deadline`` (monotonic), at least one millisecond."""
    return max(0.001, deadline - time.monotonic())
