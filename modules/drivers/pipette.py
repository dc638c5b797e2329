"""Pipette on a uArm Swift Pro: uArm G-code.

Source: UFACTORY, *uArm Swift Pro developer guide*, "Protocol": ``#<id> <G-code>`` is answered ``$<id> ok …``
or ``$<id> E<n>``; a move is answered when it is accepted, ``M2200`` tells whether the arm still moves
(``V1``) or not (``V0``). The plunger hangs on the hand servo (``G2202 N3 V<degrees>``), the tip ejector on
the gripper output (``M2232``).
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Mapping
from threading import Event

from modules.drivers.clock import Clock
from modules.drivers.device import DeviceStatus, SerialDevice, remaining
from modules.drivers.errors import BadReply, Refused
from modules.drivers.layout import PIPETTE_CLEARANCE_MM, PIPETTE_MM
from modules.drivers.port import SerialPort
from modules.drivers.wire import Wire

ERRORS = {
    20: "no such command",
    21: "a parameter is wrong",
    22: "out of its reach",
    23: "command buffer full",
    24: "no power",
    25: "operation failed",
}
POSITION = re.compile(r"X(-?[\d.]+) Y(-?[\d.]+) Z(-?[\d.]+)")
TOLERANCE_MM = 0.5
MOTION_LIMIT_S = 60.0
PARKED_MM = 1.0
FULL_ANGLE = 180.0


class UArmPipette(SerialDevice):
    """The pipette; a fresh tip for every sample.

    Parameters
    ----------
    name, port, clock
        See `SerialDevice`.
    capacity_ul : float, optional
        Volume at the plunger's full 180°, in µL.
    places : mapping, optional
        Taught positions, name to (X, Y, Z) in mm; must hold ``park`` and ``tips``.
    clearance_mm : float, optional
        Height at which it travels.
    """

    wire = Wire(baudrate=115200)

    def __init__(
        self,
        name: str,
        port: SerialPort,
        *,
        clock: Clock | None = None,
        capacity_ul: float = 1000.0,
        places: Mapping[str, tuple[float, float, float]] | None = None,
        clearance_mm: float = PIPETTE_CLEARANCE_MM,
    ) -> None:
        super().__init__(name, port, clock=clock)
        self.capacity_ul = capacity_ul
        self.places = dict(PIPETTE_MM if places is None else places)
        self.clearance_mm = clearance_mm
        self._numbers = itertools.count(random.randint(1, 5000))

    # ------------------------------------------------------------------ uArm

    def _command(self, code: str, *, moves: bool = False, stop: Event | None = None) -> str:
        number = next(self._numbers) % 10000
        prefix = f"${number} ".encode()
        line = f"#{number} {code}"
        answer = self._ask(line.encode() + b"\n", lambda m: m.startswith(prefix), moves=moves, stop=stop)
        verdict = answer[len(prefix) :].decode("ascii", "replace").strip()
        if verdict.startswith("E"):
            code_number = verdict[1:]
            problem = ERRORS.get(int(code_number) if code_number.isdigit() else 0, f"error {verdict}")
            raise Refused(self.name, problem, code=verdict, command=line)
        if not verdict.lower().startswith("ok"):
            raise BadReply(self.name, f"answered {answer!r}", command=line, uncertain=moves)
        return verdict[2:].strip()

    def _run(self, code: str, stop: Event) -> None:
        self._command(code, moves=True, stop=stop)
        self._wait(lambda: self._command("M2200", stop=stop) == "V0", MOTION_LIMIT_S, stop, code)

    def _go(self, target: tuple[float, float, float], stop: Event) -> None:
        x, y, z = target
        self._run(f"G0 X{x:g} Y{y:g} Z{z:g} F10000", stop)
        where = self.position()
        if any(abs(is_ - should) > TOLERANCE_MM for is_, should in zip(where, target, strict=True)):
            raise BadReply(
                self.name,
                f"stands at {where} mm, not at {target}",
                command=self._last_command,
                uncertain=True,
            )

    def _above(self, place: str) -> tuple[float, float, float]:
        x, y, _ = self._taught(place)
        return x, y, self.clearance_mm

    def _taught(self, place: str) -> tuple[float, float, float]:
        if place not in self.places:
            raise ValueError(f"{self.name}: no place {place!r}; taught are {', '.join(sorted(self.places))}")
        x, y, z = self.places[place]
        return x, y, z

    def _plunger(self, volume_ul: float, stop: Event) -> None:
        self._run(f"G2202 N3 V{FULL_ANGLE * volume_ul / self.capacity_ul:.2f}", stop)

    # ------------------------------------------------------------------ what it can do

    def home(self) -> None:
        """Switch the motors on, rise, and go to the parking position. Keeps what is in the tip.

        Raises
        ------
        DeviceError
        """
        stop = self._stop
        self._command("M17", moves=True, stop=stop)
        x, y, z = self.position()
        if z < self.clearance_mm:
            self._go((x, y, self.clearance_mm), stop)
        self._go(self._taught("park"), stop)

    def discard_tip(self) -> None:
        """Throw the tip away with what is in it, and reset the plunger: after a sample that was broken off.

        Raises
        ------
        DeviceError
        """
        stop = self._stop
        self._go(self._taught("park"), stop)
        self._eject(stop)
        self._plunger(0.0, stop)

    def clear_away(self) -> None:
        """Get out of the way: rise, park, and throw the tip away; nothing moves if it is parked.

        Raises
        ------
        DeviceError
        """
        if all(abs(a - b) < PARKED_MM for a, b in zip(self.position(), self._taught("park"), strict=True)):
            return
        self.home()
        self.discard_tip()

    def sample(self, source: str, target: str, volume_ul: float) -> None:
        """Take a fresh tip, carry a volume from one place to another, throw the tip away and park.

        Parameters
        ----------
        source, target : str
            Taught places, e.g. ``"vial_holder"`` and ``"spectrometer"``.
        volume_ul : float
            In µL, up to `capacity_ul`.

        Raises
        ------
        ValueError
            The volume does not fit, or a place was not taught.
        DeviceError
        """
        if not 0 < volume_ul <= self.capacity_ul:
            raise ValueError(f"{self.name}: takes up to {self.capacity_ul:g} µL, not {volume_ul:g}")
        stop = self._stop
        above_source, above_target = self._above(source), self._above(target)
        for step in (self._above("tips"), self._taught("tips"), above_source, self._taught(source)):
            self._go(step, stop)
        self._plunger(volume_ul, stop)
        for step in (above_source, above_target, self._taught(target)):
            self._go(step, stop)
        self._plunger(0.0, stop)
        self._go(above_target, stop)
        self._go(self._taught("park"), stop)
        self._eject(stop)

    def _eject(self, stop: Event) -> None:
        self._run("M2232 V1", stop)
        self._run("M2232 V0", stop)

    def position(self) -> tuple[float, float, float]:
        """Return X, Y and Z of the tip in mm."""
        answer = self._command("P2220")
        if (match := POSITION.search(answer)) is None:
            raise BadReply(self.name, f"gave {answer!r} as position", command="P2220")
        x, y, z = (float(number) for number in match.groups())
        return x, y, z

    def status(self) -> DeviceStatus:
        """Return whether it moves, and where it stands in mm."""
        moving = self._command("M2200") == "V1"
        x, y, z = self.position()
        return DeviceStatus("busy" if moving else "idle", {"x_mm": x, "y_mm": y, "z_mm": z})

    def _identify(self) -> None:
        device = self._command("P2201")
        if "swift" not in device.lower():
            raise BadReply(self.name, f"says it is {device!r}, not a uArm Swift", command="P2201")

    def _halt(self, deadline: float) -> bool:
        # M2019 lets the joints go, which is the protocol's only way to end a move; the gripper output is left
        # alone
        stop, ask = (next(self._numbers) % 10000 for _ in range(2))
        answered = f"${stop} ok".encode()
        self.port.ask_urgent(
            self.name, f"#{stop} M2019\n".encode(), lambda m: m.startswith(answered), remaining(deadline)
        )
        prefix = f"${ask} ".encode()
        moving = self.port.ask_urgent(
            self.name, f"#{ask} M2200\n".encode(), lambda m: m.startswith(prefix), remaining(deadline)
        )
        return moving.strip().endswith(b"V0")
