"""Drivers from a lab file, and the devices' safe state."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from modules.contract.clock import LabClock
from modules.contract.lab import Lab
from modules.contract.manifest import Device, Manifest
from modules.host import rack as rack_module
from modules.host.guard import Guard
from modules.host.packages import Module, PackageError
from modules.host.plugging import plug_in
from modules.host.rack import Rack

from .harness import wait_for


def lab_of(*devices: dict[str, Any]) -> Lab:
    return Lab.model_validate({"name": "lab", "modules": {"m": {"package": "p"}}, "devices": devices})


def module_of(lab: Lab) -> Module:
    ids = {device.id: (device.id,) for device in lab.devices}
    manifest = Manifest(package="p", version="1", title="M", devices=dict.fromkeys(ids, Device()), tasks=(), actions=())
    return Module("m", manifest, manifest.hash(), {}, {}, ids)


def plugged_in(lab: Lab, guard: Guard, tmp_path: Path) -> Rack:
    return plug_in(lab, [module_of(lab)], LabClock.starting_now(), guard, lambda *_: None, tmp_path)


def pump(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"pump_{number}",
        "driver": "modules.drivers.pump:SyringePump",
        "address": "sim://bus",
        "bus_address": number,
        "syringe_ul": 1000,
        **changes,
    }


def test_devices_on_one_bus_share_a_port_that_asks_the_guard(tmp_path: Path) -> None:
    guard = Guard({})
    drivers = plugged_in(lab_of(pump(1), pump(2), pump(3, address="sim://other")), guard, tmp_path).drivers
    assert drivers["pump_1"].port is drivers["pump_2"].port
    assert drivers["pump_1"].port is not drivers["pump_3"].port
    assert drivers["pump_1"].port.before_command == guard.before_command


def test_devices_that_speak_differently_cannot_share_an_address(tmp_path: Path) -> None:
    arm = {"id": "arm", "driver": "modules.drivers.arm:RobotArm", "address": "sim://bus"}
    with pytest.raises(PackageError, match=r"'arm'.*shared with a device of other line parameters"):
        plugged_in(lab_of(pump(1), arm), Guard({}), tmp_path)


class Slow:
    """A device that connects, and whose safe state comes late."""

    def __init__(self) -> None:
        self.connected = False
        self.release = threading.Event()

    def connect(self) -> None:
        self.connected = True

    def close(self) -> None:
        self.connected = False

    def safe_state(self) -> bool:
        self.release.wait(30)
        return True


def test_a_device_on_grant_is_connected_only_while_a_step_holds_it() -> None:
    driver = Slow()
    rack = Rack({"camera": driver}, Guard({}), on_grant={"camera"})
    rack.check()
    assert not driver.connected
    rack.attend(["camera"])
    assert driver.connected
    rack.leave(["camera"])
    assert not driver.connected


def test_a_late_safe_state_is_told_as_not_confirmed_and_then_as_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rack_module, "SAFE_STATE_S", 0.05)
    driver = Slow()
    rack = Rack({"furnace": driver}, Guard({}))
    reports: list[tuple[str, bool]] = []
    rack.make_safe(["furnace"], lambda device, confirmed, text: reports.append((device, confirmed)))
    wait_for(lambda: reports == [("furnace", False)])
    driver.release.set()
    wait_for(lambda: reports == [("furnace", False), ("furnace", True)])
