"""Cavro pumps on one bus: sequence numbers, repeats, volumes."""

from __future__ import annotations

import threading

import pytest

from modules.drivers import BadReply, Refused, Stopped, Timeout
from modules.simulation.testing import Bench


def moves_of(lab: Bench, name: str) -> list[dict]:
    return [line for line in lab.log("command", name) if line["moves"] and "A" in line["verb"]]


def test_a_lost_answer_does_not_dispense_twice(lab: Bench) -> None:
    pump = lab.device("pump_agno3")
    pump.port.answer_timeout = 0.1
    pump.initialize()
    lab.lab.fault("pump_agno3", "drop", count=1)
    assert pump.dispense(600, 200) == 600
    first, second = moves_of(lab, "pump_agno3")
    assert first["verb"] == second["verb"]
    assert "executed" not in first
    assert second["executed"] is False
    # the nozzle is parked: all of it fell on the deck, once
    assert lab.world.spilled_ul == pytest.approx(600, abs=0.1)
    assert lab.lab.instruments["pump_agno3"].memory["reservoir_ul"] == pytest.approx(999_400, abs=0.1)


def test_a_lost_command_is_executed_when_it_is_repeated(lab: Bench) -> None:
    pump = lab.device("pump_agno3")
    pump.port.answer_timeout = 0.1
    pump.initialize()
    lab.lab.fault("pump_agno3", "silence", count=1)
    assert pump.dispense(300, 200) == 300
    assert lab.world.spilled_ul == pytest.approx(300, abs=0.1)


def test_every_repeat_passes_the_hook(lab: Bench) -> None:
    pump = lab.device("pump_agno3")
    pump.port.answer_timeout = 0.05
    pump.connect()
    written: list[bytes] = []
    pump.port.before_command = lambda device, data, moves: written.append(data) if moves else None
    lab.lab.fault("pump_agno3", "silence")
    with pytest.raises(Timeout, match="3 times") as caught:
        pump.initialize()
    assert caught.value.uncertain
    assert [data[2] & 0x08 for data in written] == [0, 8, 8]
    assert len({data[2] & 0x07 for data in written}) == 1


def test_four_pumps_dispense_at_once_on_one_bus(lab: Bench) -> None:
    names = ["pump_citrate", "pump_h2o2", "pump_nabh4", "pump_agno3"]
    pumps = [lab.device(name) for name in names]
    assert len({pump.port for pump in pumps}) == 1
    done: list[float] = []

    def work(pump, volume: float) -> None:
        pump.initialize()
        done.append(pump.dispense(volume, 200))

    threads = [threading.Thread(target=work, args=(p, 500 + 100 * i)) for i, p in enumerate(pumps)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(done) == [500, 600, 700, 800]
    left = [lab.lab.instruments[name].memory["reservoir_ul"] for name in names]
    assert left == pytest.approx([999_500, 999_400, 999_300, 999_200], abs=0.5)


def test_volumes_and_rates_that_cannot_be_done(lab: Bench) -> None:
    pump = lab.device("pump_citrate")
    with pytest.raises(ValueError, match="less than one increment"):
        pump.dispense(0.1, 100)
    with pytest.raises(ValueError, match=r"outside 0\.833 to 967"):
        pump.dispense(100, 5000)
    assert not lab.log("command", "pump_citrate")
    with pytest.raises(ValueError, match="bus_address must be 1 to 15"):
        lab.device("pump_citrate", bus_address=16)


def test_large_volumes_take_several_strokes(lab: Bench) -> None:
    pump = lab.device("pump_nabh4")
    pump.initialize()
    begin = lab.clock.now()
    assert pump.dispense(3000, 200) == 3000
    assert len(moves_of(lab, "pump_nabh4")) == 3
    assert 30 <= lab.clock.now() - begin <= 60


def test_an_error_tells_what_was_delivered(lab: Bench) -> None:
    pump = lab.device("pump_nabh4")
    pump.initialize()
    strokes = 0

    def reboot_at_the_second(device: str, data: bytes, moves: bool) -> None:
        nonlocal strokes
        if moves and b"A" in data:
            strokes += 1
            if strokes == 2:
                lab.lab.fault("pump_nabh4", "reboot")

    pump.port.before_command = reboot_at_the_second
    with pytest.raises(Refused, match=r"not initialized.*Delivered before this stroke: 1000.0 of 3000 µL"):
        pump.dispense(3000, 200)
    assert pump.status().state == "unhomed"


def test_an_empty_reservoir_delivers_less_and_is_an_incident(lab: Bench) -> None:
    pump = lab.device("pump_citrate")
    pump.initialize()
    lab.lab.instruments["pump_citrate"].memory["reservoir_ul"] = 200.0
    pump.dispense(500, 200)
    assert lab.world.spilled_ul == pytest.approx(200, abs=0.5)
    assert [line["code"] for line in lab.log("incident", "pump_citrate")] == ["reservoir_empty", "spill"]


def test_a_stop_leaves_the_plunger_where_it_is(slow_lab: Bench) -> None:
    pump = slow_lab.device("pump_citrate")
    pump.connect()
    slow_lab.lab.instruments["pump_citrate"].memory["initialized"] = True
    caught: list[Exception] = []

    def work() -> None:
        try:
            pump.dispense(1000, 200)
        except Stopped as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while not moves_of(slow_lab, "pump_citrate"):
        pass
    assert pump.safe_state() is True
    thread.join(2)
    assert "Delivered before this stroke: 0.0 of 1000 µL" in str(caught[0])
    assert pump.status().state == "idle"
    position = pump.position()
    assert position == pump.position() < 3000


def test_a_pump_that_stands_elsewhere_than_it_says_is_an_error(lab: Bench, monkeypatch) -> None:
    pump = lab.device("pump_citrate")
    pump.initialize()
    monkeypatch.setattr(pump, "position", lambda: 12)
    with pytest.raises(BadReply, match="plunger at 12 instead of 0"):
        pump.dispense(100, 200)
