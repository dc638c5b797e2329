"""IKA stirrer and hotplate (RCT digital and relatives): NAMUR commands.

Source: IKA, *RCT digital operating instructions*, "Interface and output": 9600 baud, 7 data bits, even
parity; commands in capitals, ended by blank CR LF; only ``IN_…`` is answered, as ``<value> <channel>``.
Channels: 1 external sensor, 2 hotplate, 4 speed.
"""

from __future__ import annotations

import asyncio
import re
import time
from threading import Event
from typing import Any

from modules.drivers.clock import Clock
from modules.drivers.device import DeviceStatus, SerialDevice, remaining
from modules.drivers.errors import BadReply
from modules.drivers.port import SerialPort
from modules.drivers.wire import Wire

VALUE = re.compile(rb"^\s*(-?\d+(?:\.\d+)?) (\d)\s*$")
SPEED_TOLERANCE_RPM = 15.0


class Hotplate(SerialDevice):
    """Stirs and heats; `Stirrer`, `Heater` and Bluesky `Readable` in one.

    Parameters
    ----------
    name, port, clock
        See `SerialDevice`.
    max_speed_rpm, max_temperature_degc : float, optional
        What this model can do; larger values are refused before they are sent.
    """

    wire = Wire(baudrate=9600, bytesize=7, parity="E")

    def __init__(
        self,
        name: str,
        port: SerialPort,
        *,
        clock: Clock | None = None,
        max_speed_rpm: float = 1500.0,
        max_temperature_degc: float = 310.0,
    ) -> None:
        super().__init__(name, port, clock=clock)
        self.max_speed_rpm = max_speed_rpm
        self.max_temperature_degc = max_temperature_degc

    # ------------------------------------------------------------------ NAMUR

    def _read(self, what: str, stop: Event | None = None) -> float:
        return self._value(what, self._ask(_line(what), _answers(what), stop=stop))

    def _value(self, what: str, answer: bytes) -> float:
        if (match := VALUE.match(answer)) is None:
            raise BadReply(self.name, f"answered {answer!r}", command=what)
        return float(match[1])

    def _set(self, channel: int, value: float) -> None:
        """Write a set point and read it back: the instrument does not acknowledge."""
        self._tell(_line(f"OUT_SP_{channel} {value:g}"), moves=True, stop=self._stop)
        if abs(self._read(f"IN_SP_{channel}") - value) > 0.5:
            raise BadReply(self.name, f"did not take the set point {value:g}", command=f"OUT_SP_{channel} {value:g}")

    # ------------------------------------------------------------------ what it can do

    def stir(self, speed_rpm: float) -> None:
        """Stir at a speed, and return when it is reached; 0 stops.

        Raises
        ------
        ValueError
            The speed is outside 0 … `max_speed_rpm`.
        DeviceError
        """
        if not 0 <= speed_rpm <= self.max_speed_rpm:
            raise ValueError(f"{self.name}: stirs at 0 to {self.max_speed_rpm:g} rpm, not {speed_rpm:g}")
        stop = self._stop
        self._set(4, speed_rpm)
        self._tell(_line("START_4" if speed_rpm else "STOP_4"), moves=True, stop=stop)
        self._wait(
            lambda: abs(self.speed() - speed_rpm) <= SPEED_TOLERANCE_RPM,
            30.0,
            stop,
            f"stir {speed_rpm:g} rpm",
        )

    def heat(self, temperature_degc: float) -> None:
        """Hold a temperature; returns when the instrument has taken it, not when it is reached.

        Raises
        ------
        ValueError
            The temperature is outside 0 … `max_temperature_degc`.
        DeviceError
        """
        if not 0 <= temperature_degc <= self.max_temperature_degc:
            raise ValueError(f"{self.name}: heats to 0 … {self.max_temperature_degc:g} °C, not {temperature_degc:g}")
        stop = self._stop
        self._set(1, temperature_degc)
        self._tell(_line("START_1"), moves=True, stop=stop)

    def stop_heating(self) -> None:
        """Switch the heater off."""
        self._tell(_line("STOP_1"), moves=True, stop=self._stop)

    def wait_temperature(self, temperature_degc: float, *, tolerance: float = 1.0, limit: float = 3600.0) -> None:
        """Wait until the plate is within ``tolerance`` K of a temperature, at most ``limit`` lab seconds."""
        what = f"reaching {temperature_degc:g} °C"
        self._wait(lambda: abs(self.temperature() - temperature_degc) <= tolerance, limit, self._stop, what)

    def speed(self) -> float:
        """Return the measured speed in rpm."""
        return self._read("IN_PV_4")

    def temperature(self) -> float:
        """Return the temperature of the plate in °C."""
        return self._read("IN_PV_2")

    def status(self) -> DeviceStatus:
        """Return speed, temperatures and set points. A stirring plate counts as busy."""
        detail = {
            "speed_rpm": self.speed(),
            "temperature_degc": self.temperature(),
            "external_degc": self._read("IN_PV_1"),
            "speed_set_rpm": self._read("IN_SP_4"),
            "temperature_set_degc": self._read("IN_SP_1"),
        }
        return DeviceStatus("busy" if detail["speed_rpm"] > SPEED_TOLERANCE_RPM else "idle", detail)

    def _identify(self) -> None:
        answer = self._ask(_line("IN_NAME"), lambda message: True)
        if not answer.strip():
            raise BadReply(self.name, "gave no name", command="IN_NAME")

    def _halt(self, deadline: float) -> bool:
        # STOP is not acknowledged and its effect is slow; but commands are carried out in order, so once the
        # set points behind the stops read zero, the stops were carried out too
        stop = b"".join(_line(text) for text in ("STOP_1", "STOP_4", "OUT_SP_1 0", "OUT_SP_4 0"))
        self.port.urgent(self.name, stop)
        while time.monotonic() < deadline:
            if all(self._urgent_read(what, deadline) == 0 for what in ("IN_SP_1", "IN_SP_4")):
                return True
        return False

    def _urgent_read(self, what: str, deadline: float) -> float:
        answer = self.port.ask_urgent(self.name, _line(what), _answers(what), remaining(deadline))
        return self._value(what, answer)

    # ------------------------------------------------------------------ Bluesky

    async def read(self) -> dict[str, Any]:
        """Return speed and plate temperature; asks in a thread, so that a plan stays pausable."""
        speed, temperature = await asyncio.to_thread(lambda: (self.speed(), self.temperature()))
        now = time.time()
        return {
            f"{self.name}_speed": {"value": speed, "timestamp": now},
            f"{self.name}_temperature": {"value": temperature, "timestamp": now},
        }

    async def describe(self) -> dict[str, Any]:
        """Describe what `read` returns."""
        return {
            f"{self.name}_{what}": {
                "source": self.port.address,
                "dtype": "number",
                "shape": [],
                "units": units,
            }
            for what, units in (("speed", "rpm"), ("temperature", "degC"))
        }


def _line(text: str) -> bytes:
    return text.encode("ascii") + b" \r\n"


def _answers(what: str) -> Any:
    channel = what.rsplit("_", 1)[1].encode()
    return lambda message: (match := VALUE.match(message)) is not None and match[2] == channel
