"""A stack of its own for one benchmark, in a temporary folder."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from octolab.client import Octolab
from octolab.stack.options import REPOSITORY
from octolab.stack.up import running_file

START_WITHIN_S = 180.0
STOP_WITHIN_S = 90.0


class BenchError(Exception):
    """A benchmark could not be run; the text says why."""


class BenchLab:
    """A running stack.

    Attributes
    ----------
    data
        Its data root.
    address
        Address of its REST API.
    token
        Of a user who may do everything that a benchmark does.
    """

    def __init__(self, data: Path, lab_file: Path) -> None:
        self.data = data
        self._lab_file = lab_file
        self.address: str = self.running["address"]
        self.token = self.make_user("bench", "--operator")

    @property
    def running(self) -> dict[str, Any]:
        """What the supervisor tells about itself: address and process ids."""
        found: dict[str, Any] = json.loads(running_file(self.data).read_text())
        return found

    def client(self) -> Octolab:
        """Return a client of the benchmark's user."""
        return Octolab(self.address, self.token)

    def pids(self, prefix: str) -> list[int]:
        """Return the process ids of the processes whose name starts so."""
        return [pid for name, pid in self.running["processes"].items() if name.startswith(prefix)]

    def cpu_s(self) -> dict[str, float]:
        """Return the CPU time (s) that each process has used so far: unlike rates, it is the same on a busy machine."""
        ticks_per_s = os.sysconf("SC_CLK_TCK")
        used = {}
        for name, pid in self.running["processes"].items():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            used[name] = (int(fields[11]) + int(fields[12])) / ticks_per_s
        return used

    def make_user(self, name: str, *options: str) -> str:
        """Make an account that may do everything a benchmark does; return its token."""
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "octolab.settings",
            "OCTOLAB_DATA_ROOT": str(self.data),
            "OCTOLAB_LAB": str(self._lab_file),
            "OCTOLAB_MONGO_URL": self.running["documents"],
            "OCTOLAB_SECRET_KEY_FILE": str(self.data / "secrets" / "secret_key"),
        }
        command = [sys.executable, "manage.py", "create_user", name, "--token", "--json", *options]
        command += ["--scopes", "jobs:read,jobs:write,results:read,devices:read,devices:control"]
        done = subprocess.run(  # noqa: S603
            command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise BenchError(f"the benchmark's user could not be made:\n{done.stderr}")
        token: str = json.loads(done.stdout)["token"]
        return token


@contextlib.contextmanager
def bench_lab(lab_file: Path, *, scale: float | None = None) -> Iterator[BenchLab]:
    """Run a stack, ready to take jobs, for as long as the context lasts.

    Raises
    ------
    BenchError
        If it does not start.
    """
    for name in ("OCTOLAB_DATABASE_URL", "OCTOLAB_MONGO_URL", "OCTOLAB_REDIS_URL"):
        if name in os.environ:
            raise BenchError(f"unset {name}: benchmarks run on a stack of their own and leave your servers alone")
    with tempfile.TemporaryDirectory(prefix="octolab-bench-") as folder:
        data = Path(folder)
        command = [sys.executable, "-m", "octolab.stack", "up", "--no-demo", "--port", "0"]
        command += ["--lab", str(lab_file), "--data", str(data)]
        if scale is not None:
            command += ["--scale", f"{scale:g}"]
        with (data / "up.log").open("w") as log:
            process = subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=log)  # noqa: S603
        try:
            _until_ready(process, data)
            lab = BenchLab(data, lab_file)
            _until_served(lab)
            yield lab
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=STOP_WITHIN_S)


def _until_ready(process: subprocess.Popen[bytes], data: Path) -> None:
    give_up_s = time.monotonic() + START_WITHIN_S
    while "keeps running until Ctrl-C" not in (data / "up.log").read_text():
        if process.poll() is not None or time.monotonic() > give_up_s:
            raise BenchError(f"the stack did not start:\n{(data / 'up.log').read_text()}")
        time.sleep(0.05)


def _until_served(lab: BenchLab) -> None:
    """Wait until all modules are served and no device is offline."""
    give_up_s = time.monotonic() + 30
    with lab.client() as client:
        while time.monotonic() < give_up_s:
            modules = client.modules()
            served = modules and all(module["manifest"] for module in modules)
            if served and all(device["state"] == "idle" for device in client.devices()):
                return
            time.sleep(0.1)
    raise BenchError("the lab's devices did not become idle within 30 s")
