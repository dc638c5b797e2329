"""Faults and stops at random moments: volumes stay right, nothing moves after a stop."""

from __future__ import annotations

import random
import threading
import time

import pytest

from modules.drivers import DeviceError
from modules.simulation.testing import Bench


@pytest.mark.parametrize("seed", range(3))
def test_what_is_reported_as_delivered_was_delivered_once(lab: Bench, seed: int) -> None:
    choose = random.Random(seed)
    pump = lab.device("pump_agno3")
    pump.port.answer_timeout = 0.05
    pump.initialize()
    delivered = 0.0
    for _ in range(12):
        fault = choose.choice(["drop", "silence", "slow", "garbage", ""])
        volume = choose.randrange(30, 1500, 3)

        def strike(device: str, data: bytes, moves: bool, fault: str = fault) -> None:
            if moves and fault and not data[2] & 0x08:
                lab.lab.fault("pump_agno3", fault, count=choose.choice([1, 2]), seconds=0.07)

        pump.port.before_command = strike
        delivered += pump.dispense(volume, 300)
        pump.port.before_command = None
        lab.lab.fault("pump_agno3", "clear")
        assert lab.world.spilled_ul == pytest.approx(delivered, abs=0.5)


def test_nothing_moves_after_a_confirmed_stop(lab: Bench) -> None:
    choose = random.Random(1)
    pump, axis = lab.device("pump_citrate"), lab.device("linear_actuator")
    pump.initialize()
    axis.home()

    def work(call) -> None:
        try:
            call()
        except DeviceError:
            return

    for turn in range(16):
        device, call = (
            (pump, lambda: pump.dispense(2500, 100)) if turn % 2 else (axis, lambda: axis.down_to("stirrer.1"))
        )
        thread = threading.Thread(target=work, args=(call,))
        thread.start()
        time.sleep(choose.uniform(0, 0.03))
        confirmed = device.safe_state()
        thread.join(5)
        before = len(lab.log("command", device.name, moves=True))
        time.sleep(0.03)
        assert confirmed
        assert device.status().state in ("idle", "unhomed")
        after = lab.log("command", device.name, moves=True)
        assert len(after) == before
        if device.status().state == "unhomed":
            device.home()
        elif device is pump:
            pump.initialize()
        else:
            axis.center()
