"""Every driver against an instrument that misbehaves: errors name the device and the last command."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from modules.drivers import BadReply, DeviceError, Refused, Timeout
from modules.simulation.testing import Bench

# a query and its command in the error's text
QUERIES = {
    "arm": "STATUS",
    "vial_storage": "STATUS",
    "linear_actuator": "?",
    "stirrer": "IN_PV_4",
    "pipette": "M2200",
    "spectrometer": "STATUS",
    "pump_h2o2": "Q",
}
HOMES = {
    "arm": ("home", "HOME"),
    "linear_actuator": ("home", "$H"),
    "pipette": ("home", "M17"),
    "pump_h2o2": ("initialize", "ZR"),
}


LATE_S = 1.2


@contextlib.contextmanager
def patience(device: Any, seconds: float) -> Iterator[None]:
    """Let a device wait no longer than this for an answer: only where none, or none in time, is to come."""
    usual, device.port.answer_timeout = device.port.answer_timeout, seconds
    try:
        yield
    finally:
        device.port.answer_timeout = usual


@pytest.mark.parametrize("name", QUERIES)
def test_silence_is_a_timeout_that_names_device_and_command(lab: Bench, name: str) -> None:
    device = lab.device(name)
    device.connect()
    lab.lab.fault(name, "silence")
    with patience(device, 0.05), pytest.raises(Timeout) as caught:
        device.status()
    text = str(caught.value)
    assert text.startswith(f"{name}: no answer within 0.05 s")
    assert f"{QUERIES[name]})" in text
    assert "Check that the instrument is powered" in text
    assert not caught.value.uncertain
    lab.lab.fault(name, "clear")
    device.status()


@pytest.mark.parametrize("name", HOMES)
def test_a_motion_that_is_not_answered_is_uncertain(lab: Bench, name: str) -> None:
    method, command = HOMES[name]
    device = lab.device(name)
    device.connect()
    lab.lab.fault(name, "silence")
    with patience(device, 0.05), pytest.raises(Timeout) as caught:
        getattr(device, method)()
    assert caught.value.device == name
    if name != "linear_actuator":  # there it is the report that is missing
        assert command in caught.value.command
        assert caught.value.uncertain
        assert "look before you repeat it" in str(caught.value)


@pytest.mark.parametrize("name", QUERIES)
def test_garbage_is_a_bad_reply(lab: Bench, name: str) -> None:
    device = lab.device(name)
    device.connect()
    lab.lab.fault(name, "garbage")
    with patience(device, 1.0), pytest.raises(BadReply) as caught:
        device.status()
    assert str(caught.value).startswith(f"{name}: answered b'")
    assert "baud rate" in str(caught.value)
    lab.lab.fault(name, "clear")
    device.status()


@pytest.mark.parametrize("name", QUERIES)
def test_a_late_answer_is_not_taken_for_the_next(lab: Bench, name: str) -> None:
    device = lab.device(name)
    device.connect()
    device.status()
    lab.lab.fault(name, "slow", seconds=LATE_S, count=1)
    asked_s = time.monotonic()
    if name == "pump_h2o2":  # asks again by itself
        with patience(device, 0.4):
            assert device.status().state == "unhomed"
    else:
        with patience(device, 0.4), pytest.raises(Timeout):
            device.status()
    while time.monotonic() < asked_s + LATE_S + 0.3:
        assert device.status().state in ("idle", "unhomed")


def test_a_motion_that_never_ends(lab: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modules.drivers.device.MOTION_GRACE_S", 0.1)
    arm = lab.device("arm")
    lab.lab.fault("arm", "stall")
    with pytest.raises(Timeout, match="HOME did not end within 180 lab seconds"):
        arm.home()
    assert arm.safe_state() is True
    arm.home()


def test_a_reboot_during_a_motion_is_noticed(slow_lab: Bench) -> None:
    arm = slow_lab.device("arm")
    caught: list[DeviceError] = []

    def home() -> None:
        try:
            arm.home()
        except DeviceError as error:
            caught.append(error)

    thread = threading.Thread(target=home)
    arm.connect()
    thread.start()
    while not slow_lab.log("command", "arm", verb="HOME"):
        time.sleep(0.02)
    slow_lab.lab.fault("arm", "reboot")
    thread.join(60)
    assert "forgot the motion" in str(caught[0])
    assert caught[0].uncertain
    assert arm.status().state == "unhomed"


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("arm", lambda d: d.pick("vial_storage.1.1")),
        ("linear_actuator", lambda d: d.down_to("stirrer.1")),
        ("pump_citrate", lambda d: d.dispense(100, 100)),
    ],
)
def test_nothing_moves_before_homing(lab: Bench, name: str, call: Any) -> None:
    with pytest.raises(Refused) as caught:
        call(lab.device(name))
    assert caught.value.device == name
    assert caught.value.command


def test_a_damaged_spectrum_is_asked_for_again(lab: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    spectrometer = lab.device("spectrometer")
    wavelengths = spectrometer.wavelengths
    assert (wavelengths[0], wavelengths[-1], len(wavelengths)) == (300.0, 849.0, 550)
    kept = spectrometer.reference()
    simulated = lab.lab.instruments["spectrometer"]
    send, left = simulated.send, [2]

    def damage(data: bytes) -> None:
        if b" DATA " in data and left[0]:
            left[0] -= 1
            data = data[:-1] + bytes([data[-1] ^ 1])
        send(data)

    monkeypatch.setattr(simulated, "send", damage)
    assert (spectrometer._data("reference") == kept).all()
    assert left == [0]
    left[0] = 9
    with pytest.raises(BadReply, match="no sound reference block in 3 tries: wrong checksum"):
        spectrometer._data("reference")
    left[0] = 0
    monkeypatch.setattr("modules.drivers.spectrometer.DATA_TIMEOUT_S", 1.0)
    lab.lab.fault("spectrometer", "garbage", count=1)
    lab.lab.fault("spectrometer", "drop", count=1)
    assert (spectrometer._data("reference") == kept).all()
