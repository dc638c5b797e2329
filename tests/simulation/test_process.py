"""The simulation as a process of its own: started, killed, started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modules.drivers import LinkLost, SerialPort
from modules.drivers.arm import RobotArm
from modules.simulation.clock import ScaledClock

ROOT = Path(__file__).resolve().parents[2]


def start(folder: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "modules.simulation", "--links", str(folder), "--scale", "500", *more]
    process = subprocess.Popen(command, cwd=ROOT)
    deadline = time.monotonic() + 20
    while not (folder / "arm").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def test_it_survives_a_kill_and_hosts_find_it_again(tmp_path: Path) -> None:
    process = start(tmp_path)
    try:
        port = SerialPort("sim://arm", RobotArm.wire, links=tmp_path, answer_timeout=1.0)
        arm = RobotArm("arm", port, clock=ScaledClock(500))
        arm.home()
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        time.sleep(0.05)
        with pytest.raises(LinkLost):
            arm.status()
        os.unlink(tmp_path / "arm")  # only so that the test can see the new one
        process = start(tmp_path)
        assert arm.status().state == "idle"
        arm.home()
        arm.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    lines = [json.loads(line) for line in (tmp_path / "commands.jsonl").read_text().splitlines()]
    assert [line["verb"] for line in lines if line.get("moves")] == ["HOME", "HOME"]
    assert [line["kind"] for line in lines].count("start") == 2
    times = [line["lab_time"] for line in lines]
    assert times == sorted(times), "lab time went back"
    assert not (tmp_path / "arm").exists()


def test_a_lab_file(tmp_path: Path) -> None:
    lab = tmp_path / "lab.toml"
    lab.write_text(
        '[[devices]]\nid = "arm"\nsimulator = "modules.simulation.arm:SimulatedArm"\naddress = "sim://arm"\n'
    )
    links = tmp_path / "links"
    process = start(links, "--lab", str(lab), "--data", str(tmp_path / "data"))
    process.terminate()
    assert process.wait(10) == 0
    assert (tmp_path / "data" / "commands.jsonl").exists()


def test_a_bad_lab_file_is_named(tmp_path: Path) -> None:
    bad = tmp_path / "lab.toml"
    bad.write_text("[[devices]\n")
    command = [sys.executable, "-m", "modules.simulation", "--links", str(tmp_path), "--lab", str(bad)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "lab.toml" in done.stderr
    assert "line 1" in done.stderr
