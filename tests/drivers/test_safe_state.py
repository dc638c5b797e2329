"""A stop must not wait for anything."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from modules.drivers import DeviceError, Stopped
from modules.simulation.testing import Bench

CALLS: dict[str, Any] = {
    "arm": lambda d: d.home(),
    "vial_storage": lambda d: d.open_line(3),
    "linear_actuator": lambda d: d.home(),
    "stirrer": lambda d: d.stir(1200),
    "pipette": lambda d: d.home(),
    "spectrometer": lambda d: d.reference(),
    "pump_nabh4": lambda d: d.initialize(),
}


def blocked(device: Any, call: Any) -> tuple[threading.Thread, list[Exception]]:
    caught: list[Exception] = []

    def work() -> None:
        try:
            call(device)
        except DeviceError as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, caught


@pytest.mark.parametrize("name", CALLS)
def test_a_device_in_motion_stops_within_100_ms(slow_lab: Bench, name: str) -> None:
    device = slow_lab.device(name)
    device.connect()
    thread, caught = blocked(device, CALLS[name])
    time.sleep(0.15)
    begin = time.monotonic()
    confirmed = device.safe_state()
    took = time.monotonic() - begin
    thread.join(2)
    assert confirmed is True
    assert took < 0.1
    assert isinstance(caught[0], Stopped)
    assert name in str(caught[0])
    assert device.status().state != "busy" or name == "stirrer"  # which coasts


@pytest.mark.parametrize("name", CALLS)
def test_a_stop_does_not_wait_for_a_port_that_is_held(slow_lab: Bench, name: str) -> None:
    device = slow_lab.device(name)
    device.port.answer_timeout = 5.0
    device.connect()
    slow_lab.lab.fault(name, "silence")
    thread, caught = blocked(device, lambda d: d.status())
    time.sleep(0.1)
    begin = time.monotonic()
    confirmed = device.safe_state()
    took = time.monotonic() - begin
    thread.join(2)
    assert confirmed is False  # it is silent: nobody knows
    assert took < 0.2
    assert isinstance(caught[0], Stopped)
    assert slow_lab.log("command", name, fault="silence")[1:], "the stop was not written"


def test_a_stop_on_the_bus_leaves_the_other_pumps_alone(slow_lab: Bench) -> None:
    one, two = slow_lab.device("pump_citrate"), slow_lab.device("pump_agno3")
    one.connect()
    two.connect()
    first, caught_first = blocked(one, lambda d: d.initialize())
    second, caught_second = blocked(two, lambda d: d.initialize())
    time.sleep(0.2)
    assert one.safe_state() is True
    first.join(2)
    assert isinstance(caught_first[0], Stopped)
    second.join(10)
    assert not caught_second
    assert two.status().state == "idle"
    assert one.status().state == "unhomed"


def test_no_command_follows_a_stop(slow_lab: Bench) -> None:
    """The thread that was between two commands must not go on with the next."""
    pipette = slow_lab.device("pipette")
    pipette.connect()
    gate, at_gate = threading.Event(), threading.Event()

    def hold(device: str, data: bytes, moves: bool) -> None:
        if moves and b"G0" in data:
            at_gate.set()
            gate.wait(5)

    pipette.port.before_command = hold
    thread, caught = blocked(pipette, lambda d: d.home())
    assert at_gate.wait(5)
    assert pipette.safe_state() is True
    gate.set()
    thread.join(2)
    assert isinstance(caught[0], Stopped)
    assert not [line for line in slow_lab.log("command", "pipette") if line["verb"] == "G0"]


def test_the_actuator_keeps_its_position_when_it_is_held(slow_lab: Bench) -> None:
    actuator = slow_lab.device("linear_actuator")
    actuator.connect()
    slow_lab.lab.instruments["linear_actuator"].memory["alarm"] = False
    thread, _ = blocked(actuator, lambda d: d.down_to("stirrer.1"))
    time.sleep(0.4)
    assert actuator.safe_state() is True
    thread.join(2)
    status = actuator.status()
    assert status.state == "idle"
    assert 35 < status.detail["x_mm"] < 250


def test_a_dead_link_is_not_confirmed(slow_lab: Bench) -> None:
    arm = slow_lab.device("arm")
    slow_lab.lab.fault("arm", "unplug")
    begin = time.monotonic()
    assert arm.safe_state() is False
    assert time.monotonic() - begin < 0.1


def test_an_axis_that_cannot_answer_is_still_reset(slow_lab: Bench) -> None:
    actuator = slow_lab.device("linear_actuator")
    actuator.connect()
    thread, _ = blocked(actuator, lambda d: d.home())
    time.sleep(0.1)
    slow_lab.lab.fault("linear_actuator", "drop")
    assert actuator.safe_state() is False
    thread.join(2)
    slow_lab.lab.fault("linear_actuator", "clear")
    assert actuator.status().state == "unhomed"
    assert slow_lab.log("command", "linear_actuator", verb="RESET")
