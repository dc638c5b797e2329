"""Virtual devices: cheap, and failing on request."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modules.drivers import Refused, Stopped
from modules.simulation.testing import Bench, bench


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Bench]:
    sections = [
        {
            "id": f"v{number}",
            "simulator": "modules.simulation.virtual:SimulatedVirtual",
            "driver": "modules.drivers.virtual:VirtualDevice",
            "address": "sim://virtual",
        }
        for number in range(20)
    ]
    with bench(tmp_path, scale=1.0, sections=sections) as made:
        yield made


def test_runs_failures_and_overruns(lab: Bench) -> None:
    device = lab.device("v3")
    begin = time.monotonic()
    device.run(0.1)
    assert 0.1 <= time.monotonic() - begin < 0.3
    with pytest.raises(Refused, match="v3: failed: as asked") as caught:
        device.run(0.01, fail=True)
    assert caught.value.code == "failed"
    begin = time.monotonic()
    device.run(0.05, overrun=4)
    assert time.monotonic() - begin >= 0.2
    assert device.status().detail["runs"] == "3"
    status = device.set(0.01)
    status.wait(2)
    assert status.success


def test_only_one_run_at_a_time_and_a_stop_for_one_device(lab: Bench) -> None:
    device, other = lab.device("v1"), lab.device("v2")
    caught: list[Exception] = []

    def work() -> None:
        try:
            device.run(30)
        except Stopped as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    running = other.set(0.3)
    thread.start()
    while device.status().state != "busy":
        pass
    with pytest.raises(Refused, match="a run is under way"):
        lab.new_device("v1").run(1)
    assert device.safe_state() is True
    thread.join(2)
    assert caught
    assert device.status().state == "idle"
    running.wait(2)


def test_a_run_that_stalls_ends_only_by_a_stop(lab: Bench) -> None:
    device = lab.device("v4")
    status = device.set(0.1)
    while device.status().state != "busy":
        pass
    lab.lab.fault("v4", "stall")
    time.sleep(0.2)
    assert not status.done
    assert device.safe_state() is True
    assert isinstance(status.exception(2), Stopped)
    device.run(0.01)


def test_hundreds_of_runs_a_second(lab: Bench) -> None:
    devices = [lab.device(f"v{number}") for number in range(8)]

    def work(device) -> None:
        for _ in range(40):
            device.run(0)

    threads = [threading.Thread(target=work, args=(device,)) for device in devices]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(lab.log("command", verb="RUN")) == 320
    assert 320 / (time.monotonic() - begin) > 100
