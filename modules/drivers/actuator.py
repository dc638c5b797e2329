"""Linear actuator on a GRBL 1.1 controller: X along the slots, Z lowers the nozzle.

Source: gnea/grbl, ``doc/markdown/interface.md`` and ``commands.md``: 115200 baud; a line is answered ``ok``
or ``error:n``; ``?`` is answered ``<State|MPos:x,y,z|…>``; ``!`` (feed hold), ``~`` and 0x18 (soft reset) act
at once and need no line. After power-on the controller is in ``Alarm`` until ``$H`` has found the limit
switches.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping
from threading import Event
from typing import Any

from modules.drivers.clock import Clock
from modules.drivers.device import DeviceStatus, SerialDevice, remaining
from modules.drivers.errors import BadReply, DeviceError, Refused
from modules.drivers.layout import AXIS_CENTER_MM, AXIS_DOWN_MM, AXIS_MM, AXIS_UP_MM
from modules.drivers.port import SerialPort
from modules.drivers.status import ThreadStatus
from modules.drivers.wire import Command, Wire

REPORT = re.compile(rb"^<([A-Za-z]+)(?::\d+)?\|(?:.*?\|)?MPos:(-?[\d.]+),(-?[\d.]+),(-?[\d.]+)")
ALARMS = {
    1: "hard limit: it ran into something, the position is lost",
    2: "soft limit: the target is outside its travel",
    3: "reset while moving, the position is lost",
    6: "homing was reset",
    8: "homing could not leave the switch",
    9: "homing found no switch",
}
HOLD, QUERY, RESET = b"!", b"?", b"\x18"
TOLERANCE_MM = 0.05
MOTION_LIMIT_S = 120.0


class LinearActuator(SerialDevice):
    """The dispensing nozzle's axis; `Axis` and Bluesky `Movable`, `Readable`, `Locatable` and `Stoppable`.

    Parameters
    ----------
    name, port, clock
        See `SerialDevice`.
    places : mapping of str to float, optional
        Taught X positions in mm.
    center_mm, up_mm, down_mm : float, optional
        X where the axis is in nobody's way, and Z with the nozzle raised and lowered.
    """

    wire = Wire(baudrate=115200)

    def __init__(
        self,
        name: str,
        port: SerialPort,
        *,
        clock: Clock | None = None,
        places: Mapping[str, float] | None = None,
        center_mm: float = AXIS_CENTER_MM,
        up_mm: float = AXIS_UP_MM,
        down_mm: float = AXIS_DOWN_MM,
    ) -> None:
        super().__init__(name, port, clock=clock)
        self.places = dict(AXIS_MM if places is None else places) | {"center": center_mm}
        self.up_mm = up_mm
        self.down_mm = down_mm
        self._setpoint = center_mm

    # ------------------------------------------------------------------ GRBL

    def _report(self, stop: Event | None = None) -> tuple[str, tuple[float, float, float]]:
        return self._parse_report(self._ask(QUERY, _is_report, stop=stop))

    def _parse_report(self, message: bytes) -> tuple[str, tuple[float, float, float]]:
        if (match := REPORT.match(message)) is None:
            raise BadReply(self.name, f"answered {message!r}", command="?")
        try:
            x, y, z = (float(match[axis]) for axis in (2, 3, 4))
        except ValueError:
            raise BadReply(self.name, f"answered {message!r}", command="?") from None
        return match[1].decode(), (x, y, z)

    def _check(self, answer: bytes, text: str) -> None:
        kind, _, number = answer.decode("ascii", "replace").partition(":")
        if kind == "error":
            locked = number == "9"
            problem = "is locked after an alarm" if locked else f"refused with error {number}"
            raise Refused(self.name, problem, code=number, command=text, advice="Home it first." if locked else "")
        if kind == "ALARM":
            problem = ALARMS.get(int(number) if number.isdigit() else 0, f"alarm {number}")
            raise Refused(self.name, problem, code=f"alarm {number}", command=text, advice="Look, then home it.")

    def _go(self, axis: str, target: float, stop: Event) -> None:
        text = f"G90 G0 {axis}{target:.3f}"
        state, position = "", (0.0, 0.0, 0.0)
        # an alarm may come at any time until the motion ends
        alarm = self.port.expect(Command(self.name, text.encode(), True), _is_alarm)
        try:
            self._check(self._ask(text.encode() + b"\n", _is_verdict, moves=True, stop=stop), text)

            def arrived() -> bool:
                nonlocal state, position
                state, position = self._report(stop)
                if alarm.done:
                    self._check(alarm.result(0), text)
                return state not in ("Run", "Hold", "Jog")

            self._wait(arrived, MOTION_LIMIT_S, stop, text)
        finally:
            alarm.forget()
        if state == "Alarm":
            raise Refused(self.name, "is in alarm", code="alarm", command=text, advice="Look, then home it.")
        if abs(position["XYZ".index(axis)] - target) > TOLERANCE_MM:
            problem = f"stands at {position} mm, not at {axis}{target:g}"
            raise BadReply(self.name, problem, command=text, uncertain=True)

    def _raise_tool(self, stop: Event) -> None:
        _, (_, _, z) = self._report(stop)
        if abs(z - self.up_mm) > TOLERANCE_MM:
            self._go("Z", self.up_mm, stop)

    # ------------------------------------------------------------------ what it can do

    def home(self) -> None:
        """Raise the nozzle and find the limit switches.

        Raises
        ------
        DeviceError
        """
        stop = self._stop
        command = Command(self.name, b"$H\n", True)
        self.connect()
        # GRBL answers only when it has finished: wait beside the port, not in it
        verdict = self.port.expect(command, _is_verdict)
        try:
            self._tell(command.data, moves=True, stop=stop)
            self._wait(lambda: verdict.done, MOTION_LIMIT_S, stop, "homing")
            self._check(verdict.result(0), "$H")
        finally:
            verdict.forget()

    def down_to(self, place: str) -> None:
        """Go above a place with the nozzle raised, then lower it.

        Raises
        ------
        ValueError
            The place was not taught.
        DeviceError
        """
        target, stop = self._taught(place), self._stop
        self._raise_tool(stop)
        self._go("X", target, stop)
        self._setpoint = target
        self._go("Z", self.down_mm, stop)

    def up(self) -> None:
        """Raise the nozzle."""
        self._go("Z", self.up_mm, self._stop)

    def center(self) -> None:
        """Raise the nozzle and go to the centre, out of the arm's way."""
        stop, self._setpoint = self._stop, self.places["center"]
        self._raise_tool(stop)
        self._go("X", self._setpoint, stop)

    def position(self) -> tuple[float, float]:
        """Return X and Z in mm."""
        _, (x, _, z) = self._report()
        return x, z

    def status(self) -> DeviceStatus:
        """Return the controller's state and position in mm."""
        state, (x, _, z) = self._report()
        known = {
            "Idle": "idle",
            "Run": "busy",
            "Home": "busy",
            "Jog": "busy",
            "Hold": "stopped",
            "Alarm": "unhomed",
        }
        return DeviceStatus(known.get(state, "error"), {"grbl": state, "x_mm": x, "z_mm": z})

    def _taught(self, place: str) -> float:
        if place not in self.places:
            raise ValueError(f"{self.name}: no place {place!r}; taught are {', '.join(sorted(self.places))}")
        return self.places[place]

    def _identify(self) -> None:
        self._report()

    def _halt(self, deadline: float) -> bool:
        # a hold slows down without losing the position; only what does not hold in time is reset while moving
        self.port.urgent(self.name, HOLD)
        patience = time.monotonic() + remaining(deadline) / 2
        with contextlib.suppress(DeviceError):  # even if it does not answer, it may hear the reset
            while self._urgent_state(patience) in ("Run", "Jog") and time.monotonic() < patience:
                time.sleep(0.002)
        self.port.urgent(self.name, RESET)
        state = self._urgent_state(deadline)
        while state not in ("Idle", "Alarm") and time.monotonic() < deadline:
            time.sleep(0.002)
            state = self._urgent_state(deadline)
        return state in ("Idle", "Alarm")

    def _urgent_state(self, deadline: float) -> str:
        report = self.port.ask_urgent(self.name, QUERY, _is_report, remaining(deadline))
        return self._parse_report(report)[0]

    # ------------------------------------------------------------------ Bluesky

    def set(self, value: float | str) -> ThreadStatus:
        """Go to an X in mm, or to a taught place, with the nozzle raised."""
        target = self._taught(value) if isinstance(value, str) else float(value)
        self._setpoint = target
        stop = self._stop

        def move() -> None:
            self._raise_tool(stop)
            self._go("X", target, stop)

        return ThreadStatus(move, f"{self.name} set")

    def stop(self, *, success: bool = True) -> None:
        """Stop what is moving; does nothing to an axis at rest."""
        if self.status().state == "busy":
            self.safe_state()

    def locate(self) -> dict[str, float]:
        """Return set point and readback of X in mm."""
        return {"setpoint": self._setpoint, "readback": self.position()[0]}

    def read(self) -> dict[str, Any]:
        """Return X in mm."""
        return {self.name: {"value": self.position()[0], "timestamp": time.time()}}

    def describe(self) -> dict[str, Any]:
        """Describe what `read` returns."""
        return {self.name: {"source": self.port.address, "dtype": "number", "shape": [], "units": "mm"}}


def _is_verdict(message: bytes) -> bool:
    return message == b"ok" or message.startswith(b"error:") or _is_alarm(message)


def _is_alarm(message: bytes) -> bool:
    return message.startswith(b"ALARM:")


def _is_report(message: bytes) -> bool:
    return message.startswith(b"<")
