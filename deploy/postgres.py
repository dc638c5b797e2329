"""A PostgreSQL cluster for one run of the tests: made in a temporary folder, reached by a socket, then deleted."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

UNPRIVILEGED = ("postgres", "nobody")
"""Whom to run it as if we are root, which PostgreSQL refuses to be."""


def programs() -> Path | None:
    """Return the folder with initdb and pg_ctl of the newest PostgreSQL on this machine; None if there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    on_path = shutil.which("initdb")
    candidates = [*found, *([Path(on_path).parent] if on_path else [])]
    return next((path for path in candidates if (path / "initdb").exists() and (path / "pg_ctl").exists()), None)


@contextlib.contextmanager
def cluster(folder_of_programs: Path) -> Iterator[str]:
    """Run a cluster, and give the URL of its database."""
    user = _somebody() if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="octolab-pg-") as name:
        folder = Path(name)
        if user:
            shutil.chown(folder, user)
        data, log = folder / "data", folder / "log"

        def call(program: str, *arguments: str) -> None:
            _call([str(folder_of_programs / program), *arguments], folder, user)

        call("initdb", "--pgdata", str(data), "--username", "octolab", "--auth", "trust", "--encoding", "UTF8")
        # Nothing in here outlives the tests, so nothing needs to reach the disk.
        options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off -c max_connections=200"
        call("pg_ctl", "--pgdata", str(data), "--log", str(log), "--options", options, "--wait", "start")
        try:
            yield f"postgres://octolab@{str(folder).replace('/', '%2F')}/postgres"
        finally:
            call("pg_ctl", "--pgdata", str(data), "--mode", "immediate", "--wait", "stop")


def _call(command: Sequence[str], folder: Path, user: str | None) -> None:
    groups = {"group": pwd.getpwnam(user).pw_gid, "extra_groups": ()} if user else {}
    # The server inherits the output, so that a pipe would never end.
    with (folder.parent / f"{folder.name}.log").open("wb+") as output:
        done = subprocess.run(  # noqa: S603
            command,
            cwd=folder,
            user=user,
            **groups,  # type: ignore[call-overload]
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(folder)},
            check=False,
        )
        output.seek(0)
        text = output.read().decode(errors="replace")
    (folder.parent / f"{folder.name}.log").unlink()
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{text}")


def _somebody() -> str:
    for name in UNPRIVILEGED:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise RuntimeError(f"PostgreSQL does not run as root, and there is no user {' or '.join(UNPRIVILEGED)} here")
