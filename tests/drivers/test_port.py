"""The port: hooks, exclusive use, lost links, addresses."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import pytest

from modules.drivers import BadReply, DeviceError, LinkLost, SerialPort, Wire
from modules.drivers.address import resolve_address
from modules.simulation.testing import Bench


def test_addresses(tmp_path: Path) -> None:
    assert resolve_address("sim://arm", tmp_path) == str(tmp_path / "arm")
    assert resolve_address("/dev/ttyUSB0") == "/dev/ttyUSB0"
    for bad in ("", "sim://", "sim://../etc", "sim://.hidden"):
        with pytest.raises(ValueError, match="address"):
            resolve_address(bad, tmp_path)
    with pytest.raises(ValueError, match="no folder"):
        resolve_address("sim://arm")


def test_the_hook_sees_every_command_before_it_is_written(lab: Bench) -> None:
    seen: list[tuple[str, bytes, bool]] = []
    arm = lab.device("arm")
    arm.port.before_command = lambda device, data, moves: seen.append((device, data, moves))
    arm.connect()
    arm.home()
    assert [moves for _, data, moves in seen if b" HOME" in data] == [True]
    assert all(not moves for _, data, moves in seen if b" HOME" not in data)
    assert {device for device, _, _ in seen} == {"arm"}
    sent = [line["text"] for line in lab.log("command", "arm")]
    assert sent == [data.decode().strip() for _, data, _ in seen]


def test_what_the_hook_raises_refuses_the_command(lab: Bench) -> None:
    class EmergencyStopError(Exception):
        pass

    def refuse(device: str, data: bytes, moves: bool) -> None:
        if moves:
            raise EmergencyStopError

    arm = lab.device("arm")
    arm.port.before_command = refuse
    arm.connect()
    with pytest.raises(EmergencyStopError):
        arm.home()
    assert not lab.log("command", "arm", moves=True)
    assert arm.status().state == "unhomed"


def test_the_wire_log_holds_both_directions(lab: Bench) -> None:
    wire: list[tuple[str, str, bytes]] = []
    stirrer = lab.device("stirrer")
    stirrer.port.on_wire = lambda *event: wire.append(event)
    assert stirrer.temperature() == 22.0
    assert ("stirrer", "tx", b"IN_PV_2 \r\n") in wire
    assert b"".join(data for _, way, data in wire if way == "rx").endswith(b"22.0 2 \r\n")


def test_connecting_sends_only_queries(lab: Bench) -> None:
    for name in lab.sections:
        lab.device(name).connect()
    assert not [line for line in lab.log("command") if line["moves"]]


def test_two_hosts_cannot_share_a_port(lab: Bench) -> None:
    lab.device("arm").connect()
    other = SerialPort("sim://arm", Wire(), links=lab.folder)
    with pytest.raises(LinkLost, match="second: cannot open sim://arm"):
        other.open("second")


def test_no_port_is_a_clear_error(tmp_path: Path) -> None:
    port = SerialPort("sim://arm", Wire(), links=tmp_path)
    with pytest.raises(LinkLost, match="powered and its cable plugged in"):
        port.open("arm")


def test_a_pulled_cable_and_its_return(lab: Bench) -> None:
    arm = lab.device("arm")
    arm.connect()
    arm.home()
    lab.lab.fault("arm", "unplug")
    time.sleep(0.05)
    with pytest.raises(LinkLost, match="arm: cannot open sim://arm"):
        arm.status()
    assert arm.safe_state() is False
    lab.lab.fault("arm", "replug")
    before = len(lab.log("command", "arm"))
    assert arm.status().state == "idle"
    again = lab.log("command", "arm")[before:]
    assert [line["verb"] for line in again] == ["ID", "STATUS"]
    assert not [line for line in again if line["moves"]]


def test_a_cable_pulled_during_a_motion(slow_lab: Bench) -> None:
    arm = slow_lab.device("arm")
    arm.connect()
    failed: list[Exception] = []

    def home() -> None:
        try:
            arm.home()
        except LinkLost as error:
            failed.append(error)

    thread = threading.Thread(target=home)
    thread.start()
    time.sleep(0.2)
    slow_lab.lab.fault("arm", "unplug")
    thread.join(3)
    assert "arm: " in str(failed[0])
    assert len(slow_lab.log("command", "arm", verb="HOME")) == 1


def test_closing_one_device_leaves_the_bus_to_the_others(lab: Bench) -> None:
    citrate, agno3 = lab.device("pump_citrate"), lab.device("pump_agno3")
    citrate.connect()
    agno3.connect()
    citrate.close()
    assert agno3.status().state == "unhomed"
    agno3.close()
    assert not agno3.port.connected


def test_what_a_vanished_host_left_on_the_line_confuses_nobody(lab: Bench) -> None:
    for name, half_said in (("arm", b"7 STATUS\n8 STAT"), ("stirrer", b"IN_PV_4 \r\nIN_P")):
        with (lab.folder / name).open("wb", buffering=0) as gone:
            gone.write(half_said)
        time.sleep(0.02)
    for name in ("arm", "stirrer"):
        device = lab.device(name)
        with contextlib.suppress(DeviceError):  # the half command spoils the first one behind it
            device.connect()
        assert device.status().state in ("unhomed", "idle")


def test_a_link_that_leads_to_another_instrument_is_left_again(lab: Bench) -> None:
    link = lab.folder / "arm"
    mine, other = link.readlink(), (lab.folder / "vial_storage").readlink()
    link.unlink()
    link.symlink_to(other)
    arm = lab.device("arm")
    with pytest.raises(BadReply, match="says it is a 'octolab-storage', not a 'octolab-arm'"):
        arm.status()
    link.unlink()
    link.symlink_to(mine)
    assert arm.status().state == "unhomed"


@pytest.mark.parametrize("name", ["stirrer", "arm", "pump_agno3", "spectrometer", "pipette"])
def test_whoever_comes_after_an_ended_host_can_open_the_port(lab: Bench, name: str) -> None:
    before = lab.device(name)
    before.connect()
    before.close()
    lab.ports.clear()
    after = lab.new_device(name)
    after.connect()
    after.close()
