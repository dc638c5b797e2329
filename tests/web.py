"""A real web process for tests: uvicorn with a database, users and a virtual lab of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from octolab.stack.layout import web_command
from tests.services import Service

ROOT = Path(__file__).resolve().parent.parent
LARGE = bytes(range(256)) * 20_000
"""A static file of 5 MB, to be streamed."""
LAB = ROOT / "octolab" / "labs" / "virtual.toml"


class WebServer(Service):
    """``uvicorn octolab.asgi:application`` on a port of its own.

    Attributes
    ----------
    people
        What :mod:`tests.prepare_web` printed: user names, tokens and ids.
    """

    def __init__(self, directory: Path, *, mongo_url: str, redis_url: str, **environment: str) -> None:
        super().__init__(directory)
        self.environment = {
            "OCTOLAB_DATA_ROOT": str(directory),
            "OCTOLAB_DATABASE_URL": f"sqlite:///{directory / 'octolab.sqlite3'}",
            "OCTOLAB_MONGO_URL": mongo_url,
            "OCTOLAB_REDIS_URL": redis_url,
            "OCTOLAB_LAB": str(LAB),
            "OCTOLAB_SECRET_KEY": "only-for-tests-" + "x" * 50,
            "DJANGO_SETTINGS_MODULE": "octolab.settings",
            "PYTHONPATH": str(ROOT),
            **environment,
        }
        self.people: dict[str, Any] = {}

    @property
    def url(self) -> str:
        """Address of the server."""
        return f"http://127.0.0.1:{self.port}"

    def prepare(self, *options: str, program: str = "tests.prepare_web") -> None:
        """Make the database, the lab and the users; ``--bare`` without jobs."""
        (self.directory / "static").mkdir()
        (self.directory / "static" / "large.bin").write_bytes(LARGE)
        done = subprocess.run(
            [sys.executable, "-m", program, *options],
            env={**os.environ, **self.environment},
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
        self.people = json.loads(done.stdout)

    @property
    def command(self) -> list[str]:
        """The command line."""
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        return ["env", *variables, sys.executable, *web_command(self.port), "--log-level", "warning"]
