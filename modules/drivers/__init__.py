"""Drivers: what is plugged in (address), what it can do (protocol), how it does it (driver).

Only this face and the driver classes are for use outside the package.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modules.drivers.clock import Clock, RealClock
from modules.drivers.device import DeviceStatus, SerialDevice
from modules.drivers.errors import BadReply, DeviceError, LinkLost, Refused, Stopped, Timeout
from modules.drivers.port import SerialPort
from modules.drivers.wire import Command, Wire

__all__ = [
    "BadReply",
    "Clock",
    "Command",
    "DeviceError",
    "DeviceStatus",
    "LinkLost",
    "RealClock",
    "Refused",
    "SerialDevice",
    "SerialPort",
    "Stopped",
    "Timeout",
    "Wire",
    "driver_settings",
]

NOT_SETTINGS = {"id", "driver", "simulator", "address", "simulation"}


def driver_settings(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of an instrument's section in the lab file is meant for the driver's constructor.

    ``id``, ``driver``, ``simulator`` and ``address`` are for whoever builds the driver; the sub-table
    ``simulation`` is for the simulated instrument alone.
    """
    return {key: value for key, value in section.items() if key not in NOT_SETTINGS}
