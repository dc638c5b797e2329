"""The supervisor with real processes: order, readiness, restart, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from octolab.stack.readiness import Notifies, PortAnswers
from octolab.stack.service import Service, StackError
from octolab.stack.supervisor import Supervisor
from tests.services import free_port

from .processes import ROOT, alive, worker

pytestmark = pytest.mark.asyncio


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.fixture
def reports() -> list[str]:
    return []


@pytest_asyncio.fixture
async def supervisor(tmp_path: Path, reports: list[str]) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(tmp_path, reports.append)
    yield supervisor
    await supervisor.stop(asyncio.Event())


async def test_it_starts_what_is_ready_and_says_so(supervisor: Supervisor, reports: list[str]) -> None:
    await supervisor.start(worker("one", "plain"), worker("two", "plain"))
    assert set(supervisor.pids) == {"one", "two"}
    assert any(line.startswith("one") and f"process {supervisor.pids['one']}" in line for line in reports)


async def test_a_process_that_fails_is_reported_with_its_last_words(supervisor: Supervisor) -> None:
    with pytest.raises(StackError, match=r"(?s)broken ended with code 3.*the disk is on fire"):
        await supervisor.start(worker("broken", "fails"))


async def test_a_process_that_never_gets_ready_is_stopped(supervisor: Supervisor, tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"silent was not ready within 1 s"):
        await supervisor.start(worker("silent", "silent", ready_within_s=1))
    assert supervisor.pids == {}


async def test_a_program_that_is_missing_is_named(supervisor: Supervisor) -> None:
    with pytest.raises(StackError, match=r"redis cannot be started: /no/such/program: No such file"):
        await supervisor.start(Service("redis", ("/no/such/program",), Notifies()))


async def test_a_killed_process_is_started_again(supervisor: Supervisor, reports: list[str]) -> None:
    await supervisor.start(worker("one", "plain"))
    for _ in range(2):
        first = supervisor.pids["one"]
        os.kill(first, signal.SIGKILL)
        await until(lambda: reports[-1] == "one is ready again")
        assert supervisor.pids["one"] != first
        reports.append("next")
    assert "one was killed by SIGKILL; starting it again in 0.2 s" in reports


async def test_what_a_killed_process_started_ends_with_it(supervisor: Supervisor, tmp_path: Path) -> None:
    note = tmp_path / "grandchild"
    await supervisor.start(worker("one", "parent", str(note)))
    first, grandchild = supervisor.pids["one"], int(note.read_text())
    os.kill(first, signal.SIGKILL)
    await until(lambda: not alive(grandchild))
    await until(lambda: supervisor.pids.get("one", first) != first)


async def test_they_stop_in_the_reverse_order(tmp_path: Path, reports: list[str]) -> None:
    supervisor = Supervisor(tmp_path, reports.append)
    ends = tmp_path / "ends"
    for name in ("store", "host", "web"):
        await supervisor.start(worker(name, "note_end", str(ends), name))
    await supervisor.stop(asyncio.Event())
    assert ends.read_text().split() == ["web", "host", "store"]


async def test_one_that_does_not_end_is_killed(tmp_path: Path, reports: list[str]) -> None:
    supervisor = Supervisor(tmp_path, reports.append)
    await supervisor.start(worker("deaf", "stubborn", stop_within_s=0.3))
    pid = supervisor.pids["deaf"]
    await supervisor.stop(asyncio.Event())
    assert not alive(pid)
    assert "deaf did not end in time and was killed" in reports


async def test_a_second_ctrl_c_does_not_wait(tmp_path: Path, reports: list[str]) -> None:
    supervisor = Supervisor(tmp_path, reports.append)
    await supervisor.start(worker("deaf", "stubborn", stop_within_s=600))
    pid, hurry = supervisor.pids["deaf"], asyncio.Event()
    hurry.set()
    async with asyncio.timeout(20):
        await supervisor.stop(hurry)
    assert not alive(pid)


async def test_a_port_that_answers_makes_ready(supervisor: Supervisor) -> None:
    port = free_port()
    command = (sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port))
    probe = PortAnswers(port, b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"HTTP/1.0 200")
    await supervisor.start(Service("files", command, probe, directory=ROOT))
    assert "files" in supervisor.pids


async def test_secrets_on_standard_input_reach_only_the_process(supervisor: Supervisor, tmp_path: Path) -> None:
    command = (sys.executable, "-c", "import sys; print(len(sys.stdin.read()))")
    received = bytearray()
    code = await supervisor.run(Service("reader", command, Notifies(), standard_input=b"x" * 41), received.extend)
    assert (code, received.strip()) == (0, b"41")
