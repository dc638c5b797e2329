"""A running stack that faults can be done to: its processes, stores, clock, disk and instruments."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis

from analysis.documents import DocumentStore
from modules.contract.hands import order
from octolab.client import Octolab
from tests.stack.processes import ROOT
from tests.stack.running import RunningStack

DISK = "2g"
START_WITHIN_S = 120.0


class Missed(Exception):  # noqa: N818
    """The fault could not be done now; the text says why. It does not count."""


class LabUnderFire:
    """The stack, and what is needed to hurt it.

    Parameters
    ----------
    folder
        For the data root and what stands beside it.
    lab
        The lab file.
    scale
        Lab seconds per real second.
    own_disk
        Whether the data root is a file system of its own, which may be filled.
    """

    def __init__(self, folder: Path, lab: Path, scale: float, *, own_disk: bool) -> None:
        self.data = folder / "data"
        self.lab_file = lab
        self.own_disk = own_disk
        self._clock = folder / "clock"
        self._clock.write_bytes(bytes(8))
        self._shim = _compile(folder)
        # The instruments' own log stands at the bench: what is full is the server's disk.
        (folder / "bench").mkdir()
        (self.data / "simulation").symlink_to(folder / "bench")
        self._arguments = ("--no-demo", "--lab", str(lab), "--scale", f"{scale:g}")
        self.stack = self._start(port=0)
        self.token = ""
        self.anchors: list[dict[str, Any]] = []
        """Anchors of lab time, one for each start of the stack."""

    def _start(self, port: int) -> RunningStack:
        return RunningStack(self.data, "--port", str(port), *self._arguments, environment=self._environment())

    def _environment(self) -> dict[str, str]:
        environment = {"OCTOLAB_NOTIFY_PRIVATE": "1"}
        if self._shim is not None:
            environment |= {"LD_PRELOAD": str(self._shim), "CHAOS_CLOCK": str(self._clock)}
        return environment

    def wait_until_ready(self, channel: str) -> None:
        """Wait until the lab takes jobs; make its user, who is told by the channel."""
        self.stack.until_it_says("keeps running until Ctrl-C")
        self._note_anchor()
        self.token = self._make_user()
        with self.client() as lab:
            self.stack.until(lambda: all(module["manifest"] for module in lab.modules()))
            self.stack.until(lambda: all(device["state"] == "idle" for device in lab.devices()))
        self._make_channel(channel)

    def restart(self, number: signal.Signals) -> None:
        """End the supervisor, and with it everything; start the stack again on the same data and port."""
        port = int(self.stack.running["address"].rpartition(":")[2])
        self.stack.process.send_signal(number)
        self.stack.wait()
        self._start_until_it_runs(port)
        self._note_anchor()

    def _start_until_it_runs(self, port: int) -> None:
        """Start as an operator does: a full disk, say, keeps it from starting, so again when there is room."""
        give_up_s = time.monotonic() + START_WITHIN_S
        while True:
            self.stack = self._start(port)
            try:
                self.stack.until_it_says("keeps running until Ctrl-C")
                return
            except AssertionError:
                if time.monotonic() > give_up_s:
                    raise
            time.sleep(1)

    def _note_anchor(self) -> None:
        store = DocumentStore(self.documents_url)
        self.anchors.append(store.find("clock")[0]["anchor"])
        store.close()

    def client(self) -> Octolab:
        """Return a client of the lab's user, who is an operator too."""
        return Octolab(self.stack.running["address"], self.token, tries=1, timeout_s=10)

    def _make_user(self) -> str:
        scopes = "jobs:read,jobs:write,results:read,devices:read,devices:control"
        done = self._manage("create_user", "ada", "--token", "--json", "--operator", "--scopes", scopes)
        token: str = json.loads(done)["token"]
        return token

    def _make_channel(self, url: str) -> None:
        code = (
            "from users.models import User; from notifications.services import create_channel;"
            f"create_channel(User.objects.get(username='ada'), 'chat', {url!r})"
        )
        self._manage("shell", "--no-imports", "--command", code)

    def _manage(self, *arguments: str) -> str:
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "octolab.settings",
            "OCTOLAB_DATA_ROOT": str(self.data),
            "OCTOLAB_LAB": str(self.lab_file),
            "OCTOLAB_MONGO_URL": self.documents_url,
            "OCTOLAB_SECRET_KEY_FILE": str(self.data / "secrets" / "secret_key"),
            "OCTOLAB_NOTIFY_PRIVATE": "1",
        }
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout

    # --- processes

    @property
    def documents_url(self) -> str:
        """Where MongoDB is."""
        url: str = self.stack.running["documents"]
        return url

    def pid(self, name: str) -> int:
        """Return the process id of a running process of the stack.

        Raises
        ------
        Missed
            If it is down just now.
        """
        pid = self.stack.pids.get(name)
        try:
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) if pid else 0
        except OSError:
            parent = 0
        if parent != self.stack.process.pid or pid is None:
            raise Missed(f"{name} is down already")
        return pid

    def signal(self, name: str, number: signal.Signals) -> int:
        """Send a signal to a process; return its process id."""
        pid = self.pid(name)
        os.kill(pid, number)
        return pid

    @contextlib.contextmanager
    def gone(self, name: str) -> Iterator[None]:
        """Kill a process, and keep the supervisor from starting it again meanwhile."""
        supervisor = self.stack.process.pid
        os.kill(supervisor, signal.SIGSTOP)
        try:
            self.signal(name, signal.SIGKILL)
            yield
        finally:
            os.kill(supervisor, signal.SIGCONT)

    def environment_of(self, name: str) -> dict[str, str]:
        """Return the environment that a process was started with."""
        text = Path(f"/proc/{self.pid(name)}/environ").read_text()
        return dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)

    def wait_until_back(self, name: str, old: int, within_s: float) -> None:
        """Wait until a process runs under another id, but not for ever: it may be killed again meanwhile."""
        give_up_s = time.monotonic() + within_s
        while time.monotonic() < give_up_s:
            with contextlib.suppress(Missed):
                if self.pid(name) != old:
                    return
            time.sleep(0.1)

    # --- stores, clock, disk, instruments

    def redis(self) -> redis.Redis:
        """Return a client of the broker."""
        return redis.Redis.from_url(
            self.environment_of("scheduler")["OCTOLAB_REDIS_URL"], socket_timeout=5, socket_connect_timeout=2
        )

    @contextlib.contextmanager
    def locked_database(self) -> Iterator[None]:
        """Hold the database's write lock."""
        connection = sqlite3.connect(self.data / "octolab.sqlite3", timeout=20, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            raise Missed(f"the database cannot be locked: {error}") from error
        finally:
            connection.close()

    @contextlib.contextmanager
    def full_disk(self) -> Iterator[None]:
        """Leave no room on the data root's file system."""
        if not self.own_disk:
            raise Missed("the data root has no file system of its own")
        for _ in range(20):
            usage = os.statvfs(self.data)
            used_kb = (usage.f_blocks - usage.f_bfree) * usage.f_frsize // 1024
            with contextlib.suppress(subprocess.CalledProcessError):
                # It refuses if something was written meanwhile.
                self._resize(f"{used_kb}k")
                break
        else:
            raise Missed("too much is written at this moment")
        try:
            yield
        finally:
            self._resize(DISK)

    def _resize(self, size: str) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self.data)], check=True)

    def set_clock(self, offset_s: int) -> None:
        """Step the system clock that all of octolab's own processes see."""
        if self._shim is None:
            raise Missed("no C compiler was found to make the clock's shim with")
        with self._clock.open("r+b") as file:
            file.write(struct.pack("<q", offset_s))

    def instrument(self, **what: Any) -> dict[str, Any]:
        """Give an order to the simulation; return its answer."""
        try:
            return order(self.data / "simulation", **what)
        except (OSError, ValueError) as error:
            raise Missed(f"the simulation is down: {error}") from error

    def last_motion_s(self) -> float:
        """Return the monotonic time of the last command that moved something."""
        path = self.data / "simulation" / "commands.jsonl"
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - 8192))
            lines = [json.loads(line) for line in log.read().split(b"\n")[1:] if line.endswith(b"}")]
        return max((line["monotonic"] for line in lines if line.get("moves")), default=0.0)


def _compile(folder: Path) -> Path | None:
    """Return the shim that steps the clock of whoever loads it; None without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    shim = folder / "stepped_clock.so"
    source = Path(__file__).with_name("stepped_clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", str(shim), str(source), "-ldl"], check=True)
    return shim
