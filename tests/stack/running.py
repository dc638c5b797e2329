"""A whole stack for a test: the real command in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .processes import ROOT, alive

WITHIN_S = 180.0


class RunningStack:
    """A started stack and what it prints."""

    def __init__(
        self, data: Path, *arguments: str, environment: dict[str, str] | None = None, directory: Path = ROOT
    ) -> None:
        self.data = data
        self.output_file = data.with_name(f"{data.name}.out")
        servers = ("OCTOLAB_DATABASE_URL", "OCTOLAB_MONGO_URL", "OCTOLAB_REDIS_URL", "OCTOLAB_SECRET_KEY")
        own = {name: value for name, value in os.environ.items() if name not in servers}
        command = [sys.executable, "-m", "octolab.stack", "up", "--data", str(data), *arguments]
        with self.output_file.open("w") as output:
            self.process = subprocess.Popen(
                command,
                cwd=directory,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env={**own, **(environment or {})},
            )

    @property
    def output(self) -> str:
        """What it has printed."""
        return self.output_file.read_text()

    @property
    def running(self) -> dict[str, Any]:
        """What the supervisor tells of its processes."""
        found: dict[str, Any] = json.loads((self.data / "running.json").read_text())
        return found

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name."""
        found: dict[str, int] = self.running["processes"]
        return found

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so."""
        give_up_s = time.monotonic() + WITHIN_S
        while not condition():
            assert time.monotonic() < give_up_s, self.output
            time.sleep(0.05)

    def until_it_says(self, text: str) -> None:
        """Wait for a line of output."""
        self.until(lambda: text in self.output or self.process.poll() is not None)
        assert text in self.output, self.output

    def wait(self) -> int:
        """Return its exit code when it has ended."""
        return self.process.wait(timeout=WITHIN_S)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; return its exit code."""
        self.process.send_signal(number)
        return self.wait()


@contextlib.contextmanager
def running_stack(data: Path, *arguments: str, environment: dict[str, str] | None = None) -> Iterator[RunningStack]:
    """Start a stack, and leave nothing of it behind."""
    stack = RunningStack(data, "--port", "0", *arguments, environment=environment)
    try:
        yield stack
    finally:
        if stack.process.poll() is None:
            stack.stop()


def descendants(pid: int) -> set[int]:
    """Return the ids of all processes that a process has started, and those have started."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = {pid}
    while new := {child for child, parent in parents.items() if parent in found and child not in found}:
        found |= new
    return found - {pid}


def left_alive(pids: set[int]) -> set[int]:
    """Return those that live on, after a moment for the kernel."""
    give_up_s = time.monotonic() + 20
    while (living := {pid for pid in pids if alive(pid)}) and time.monotonic() < give_up_s:
        time.sleep(0.05)
    return living
