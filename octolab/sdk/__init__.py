"""What people who write modules import; nothing else of octolab is meant for them.

A module is a package with two names: ``manifest(options) -> Manifest`` and ``ACTIONS``, a mapping from action names
to plain functions or Bluesky plans that take a :class:`Context`. See ``docs/how-to/write-a-module.md``, and
:mod:`octolab.sdk.simulation` for simulated instruments, and :mod:`octolab.sdk.testing` for trying an action without
a server. ``octolab module new NAME`` writes a module to begin with.
"""

from __future__ import annotations

from modules.contract.clock import Clock
from modules.contract.manifest import (
    Action,
    Add,
    Check,
    Consumable,
    Device,
    Manifest,
    Resource,
    Result,
    Setting,
    Step,
    Task,
    Vessel,
)
from modules.contract.messages import Member
from modules.drivers import (
    BadReply,
    Command,
    DeviceError,
    DeviceStatus,
    LinkLost,
    Refused,
    SerialDevice,
    SerialPort,
    Timeout,
    Wire,
)
from modules.drivers.device import remaining
from modules.drivers.line import LineDevice
from modules.drivers.status import ThreadStatus
from modules.host.context import Context, Sample, plan_sleep
from modules.host.interruptions import Aborted, CommandRefused, Stopped
from modules.host.recorder import ResultError

from .parameters import parameters_schema, unit

__all__ = [
    "Aborted",
    "Action",
    "Add",
    "BadReply",
    "Check",
    "Clock",
    "Command",
    "CommandRefused",
    "Consumable",
    "Context",
    "Device",
    "DeviceError",
    "DeviceStatus",
    "LineDevice",
    "LinkLost",
    "Manifest",
    "Member",
    "Refused",
    "Resource",
    "Result",
    "ResultError",
    "Sample",
    "SerialDevice",
    "SerialPort",
    "Setting",
    "Step",
    "Stopped",
    "Task",
    "ThreadStatus",
    "Timeout",
    "Vessel",
    "Wire",
    "parameters_schema",
    "plan_sleep",
    "remaining",
    "unit",
]
