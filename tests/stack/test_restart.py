"""What goes on across the end of a process: dwell times, steps that run, and who is seen to be dead. All over REST."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from analysis.documents import DocumentStore
from octolab.client import FINAL, Octolab

from .running import RunningStack
from .test_kill import attempts, client, make_token

LAB = Path(__file__).parents[2] / "octolab" / "labs" / "virtual.toml"
SCALE = 60.0
DWELL_S = 900.0
READY = "keeps running until Ctrl-C"


class Lab:
    """A stack of virtual devices that may be started again."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.stack = self._start(0)
        make_token(self.stack)

    def _start(self, port: int) -> RunningStack:
        arguments = ("--no-demo", "--lab", str(LAB), "--scale", f"{SCALE:g}", "--port", str(port))
        stack = RunningStack(self.data, *arguments)
        stack.until_it_says(READY)
        return stack

    def restart(self, number: signal.Signals) -> None:
        """End the whole stack, and start it again on the same data and port."""
        port = int(self.stack.running["address"].rpartition(":")[2])
        self.stack.stop(number)
        self.stack = self._start(port)

    def idle(self, lab: Octolab) -> None:
        """Wait until everything can be used."""
        self.stack.until(lambda: all(device["state"] == "idle" for device in lab.devices()))

    def lab_s(self) -> float:
        """Return the lab second at which the present stack started."""
        with closing(DocumentStore(self.stack.running["documents"])) as store:
            return float(store.find("clock")[0]["anchor"]["lab_s"])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab(tmp_path_factory.mktemp("restart") / "data")
    try:
        yield made
    finally:
        if made.stack.process.poll() is None:
            made.stack.stop()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_dwell_goes_on_at_the_right_second_when_the_stack_is_back(running: Lab, number: signal.Signals) -> None:
    work = {"devices": ["virtual_1"], "time": "10 s", "standby": f"{DWELL_S:g} s"}
    workflow = [{"task": "virtual.enter"}, {"task": "virtual.occupy", "with": work}, {"task": "virtual.leave"}]
    with client(running.stack) as lab:
        running.idle(lab)
        job = lab.submit({"name": f"Dwell over {number.name}", "workflow": workflow})["id"]
        running.stack.until(lambda: any(s["state"] == "running" for s in rests(lab, job)))
    running.restart(number)
    with client(running.stack) as lab:
        running.stack.until(lambda: lab.job(job, include="none")["state"] in FINAL)
        ended = lab.job(job)
        assert ended["state"] == "completed", ended["state_reason"]
        (rest,) = rests(lab, job)
        (leave,) = (step for step in ended["steps"] if step["name"].startswith("leave") and step["started"])
    assert rest["ended"]["lab_s"] - rest["started"]["lab_s"] == pytest.approx(DWELL_S, abs=1e-6)
    # Simulated lab time stood still meanwhile, so the dwell was neither cut short nor begun anew.
    assert rest["started"]["lab_s"] < running.lab_s() < rest["ended"]["lab_s"] <= leave["started"]["lab_s"]


def rests(lab: Octolab, job: str) -> list[dict[str, Any]]:
    """Return the dwells of a job."""
    return [step for step in lab.job(job)["steps"] if step["name"].startswith("rest")]


@pytest.mark.timeout(600)
def test_a_stack_that_starts_while_the_database_is_locked_waits_for_it(running: Lab) -> None:
    """Chaos, seed 102: it gave up after 20 s."""
    port = int(running.stack.running["address"].rpartition(":")[2])
    running.stack.stop()
    log = running.data / "logs" / "prepare.log"
    lock = sqlite3.connect(running.data / "octolab.sqlite3", isolation_level=None)
    with closing(lock):
        lock.execute("BEGIN EXCLUSIVE")
        arguments = ("--no-demo", "--lab", str(LAB), "--scale", f"{SCALE:g}", "--port", str(port))
        running.stack = RunningStack(running.data, *arguments)
        running.stack.until(lambda: "database locked" in log.read_text() or running.stack.process.poll() is not None)
        lock.execute("ROLLBACK")
    running.stack.until_it_says(READY)


@pytest.mark.timeout(600)
def test_a_worker_asked_to_stop_finishes_its_step(running: Lab) -> None:
    workflow = [{"task": "virtual.occupy", "with": {"devices": ["virtual_2"], "time": "300 s"}}]
    with client(running.stack) as lab:
        running.idle(lab)
        job = lab.submit({"name": "Finish", "workflow": workflow})["id"]
        running.stack.until(lambda: any(device["state"] == "busy" for device in lab.devices()))
        (name,) = (name for name in running.stack.pids if name.startswith("host"))
        old = running.stack.pids[name]
        os.kill(old, signal.SIGTERM)
        running.stack.until(lambda: lab.job(job, include="none")["state"] in FINAL | {"needs_operator"})
        assert lab.job(job)["state"] == "completed"
        own = {step["id"] for step in lab.job(job)["steps"]}
        found = [a for a in attempts(running.stack) if a["step_ids"][0] in own and a["touched"]]
        assert [attempt["state"] for attempt in found] == ["completed"]
        running.stack.until(lambda: running.stack.pids.get(name, old) != old)


@pytest.mark.timeout(600)
def test_a_worker_that_is_dead_is_seen(running: Lab) -> None:
    """How soon: see tests/scheduler/test_hosts.py."""
    with client(running.stack) as lab:
        running.idle(lab)
        (name,) = (name for name in running.stack.pids if name.startswith("host"))
        pid = running.stack.pids[name]
        os.kill(pid, signal.SIGSTOP)
        try:
            running.stack.until(lambda: all(device["state"] == "offline" for device in lab.devices()))
            assert {device["reason"] for device in lab.devices()} == {"its host does not answer"}
        finally:
            os.kill(pid, signal.SIGCONT)
        running.idle(lab)
