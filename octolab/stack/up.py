"""Bring a whole stack up, show it at work with the demo job, keep it running, and bring it down again."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .layout import Facts, Layout
from .options import Options
from .ports import claim_port
from .service import StackError
from .supervisor import Supervisor
from .words import manage

PREPARE_WITHIN_S = 300.0
NOTE_AGAIN_S = 1.0
MODULES_WITHIN_S = 30.0
MODULES_POLL_S = 0.1


def run(options: Options) -> int:
    """Run the stack until it is told to stop, and return the exit code.

    0 after Ctrl-C or SIGTERM, or when ``--once`` has shown a completed job; 1 if the stack could not work or
    the job did not complete; 128 + the signal's number if it was stopped before it had finished starting.
    """
    os.umask(0o077)
    try:
        with _own_data_folder(options.data):
            return asyncio.run(_Stack(options).run())
    except StackError as error:
        say(f"octolab could not start: {error}")
        return 1


def say(text: str) -> None:
    """Tell the person at the terminal; a terminal that has gone is no reason to fail."""
    with contextlib.suppress(OSError):
        print(text, flush=True)


@dataclass
class _Prepared:
    facts: Facts
    modules: tuple[str, ...]
    example: Path | None
    """The shipped job that fits the modules."""
    username: str = ""
    password: str = ""
    token: str = ""


class _Stack:
    def __init__(self, options: Options) -> None:
        self._options = options
        self._stop_signal: int | None = None
        self._steady = False
        """Whether nothing is left to do but to keep running."""
        self._asked_to_stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._layout: Layout | None = None
        self._supervisor: Supervisor | None = None
        self._log = (options.data / "logs" / "stack.log").open("a", encoding="utf-8")

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal, number)
        self._supervisor = supervisor = Supervisor(self._options.data / "logs", self._report)
        work = asyncio.create_task(self._work(supervisor))
        stop = asyncio.create_task(self._asked_to_stop.wait())
        try:
            await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            # Ctrl-C is how a running stack is meant to be stopped; before that it cuts something short.
            return 0 if self._steady else 128 + (self._stop_signal or 0)
        finally:
            stop.cancel()
            await supervisor.stop(self._hurry)
            self._report("everything has stopped")
            running_file(self._options.data).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self._log.close()

    async def _work(self, supervisor: Supervisor) -> int:
        options = self._options
        self._layout = layout = Layout(options, claim_port(options.port))
        self._report(f"starting, data in {options.data}")
        await self._check(supervisor, layout)
        await supervisor.start(*layout.stores)
        prepared = await self._prepare(supervisor, layout)
        facts = prepared.facts
        if facts.simulation:
            await supervisor.start(layout.simulation(facts))
        await supervisor.start(*layout.hosts(facts), *layout.server())
        await self._until_jobs_are_taken(layout)
        say("")
        say(f"  {facts.lab} is running{_simulated(facts)}, at {facts.scale:g} times real time")
        say(f"  Dashboard   {layout.address}")
        say(f"  Logs        {options.data / 'logs'}")
        if prepared.password:
            say(f"  Log in as   {prepared.username}   password {prepared.password}   (shown this once)")
        elif prepared.username:
            say(f"  Log in as   {prepared.username}   for a new password:")
            say(f"    {manage(options.data, 'changepassword', prepared.username)}")
        else:
            say("  Accounts    make your own, if you have none yet:")
            say(f"    {manage(options.data, 'create_user', 'NAME', '--admin')}")
        say("")
        if options.demo:
            shown = await self._show(supervisor, layout, prepared)
            if options.once:
                return 0 if shown else 1
        say(f"  {layout.address} keeps running until Ctrl-C")
        self._steady = True
        await asyncio.Event().wait()
        return 0

    async def _show(self, supervisor: Supervisor, layout: Layout, prepared: _Prepared) -> bool:
        """Show the stack at work with a job; return whether it completed."""
        job = self._options.demo_job or prepared.example
        if job is None:
            modules = ", ".join(prepared.modules)
            say(f"  No example fits the modules of this lab ({modules}): submit a job with --job FILE")
            return False
        return await supervisor.run(layout.demo(job, prepared.token, prepared.facts)) == 0

    async def _check(self, supervisor: Supervisor, layout: Layout) -> None:
        """Refuse a lab that could not run, before anything of it is kept."""
        service = layout.check()
        answer = bytearray()
        if await supervisor.run(service, answer.extend) != 0:
            reasons = answer.decode(errors="replace").strip() or supervisor.last_words(service.name)
            raise StackError(f"the lab cannot be used as it is written:\n\n{reasons}")

    async def _prepare(self, supervisor: Supervisor, layout: Layout) -> _Prepared:
        service = layout.prepare(demo=self._options.demo)
        answer = bytearray()
        started_s = time.monotonic()
        try:
            async with asyncio.timeout(PREPARE_WITHIN_S):
                code = await supervisor.run(service, answer.extend)
        except TimeoutError:
            code = -1
        if code != 0:
            raise StackError(f"the lab could not be prepared:\n\n{supervisor.last_words(service.name)}")
        self._report(f"lab         prepared after {time.monotonic() - started_s:.1f} s")
        found: dict[str, Any] = json.loads(answer.splitlines()[-1])
        facts = Facts(
            lab=found["lab"],
            simulated=found["simulated"],
            simulation=found["simulation"],
            hosts=tuple(found["hosts"]),
            scale=found["scale"],
            seed=found["seed"],
        )
        example = found["example"] and Path(found["example"])
        return _Prepared(facts, tuple(found["modules"]), example, **found.get("demo", {}))

    async def _until_jobs_are_taken(self, layout: Layout) -> None:
        """Wait until the server knows what every module offers: hosts tell it a moment after they have started."""
        try:
            async with asyncio.timeout(MODULES_WITHIN_S):
                while not await asyncio.to_thread(_knows_its_modules, layout.address):
                    await asyncio.sleep(MODULES_POLL_S)
        except TimeoutError:
            self._report("not every module has told what it offers; its jobs are refused until it does. See the logs")

    def _on_signal(self, number: int) -> None:
        if self._stop_signal is None:
            self._stop_signal = number
            say("")
            self._report("stopping")
            self._asked_to_stop.set()
        elif number != signal.SIGHUP:
            self._hurry.set()

    def _report(self, line: str) -> None:
        say(f"  {line}")
        with contextlib.suppress(OSError, ValueError):
            self._log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {line}\n")
            self._log.flush()
        self._note_what_runs()

    def _note_what_runs(self) -> None:
        """Tell other programs of this user, such as ``deploy/bench``, where to find the stack's processes."""
        if self._supervisor is None or self._layout is None:
            return
        note = {
            "supervisor": os.getpid(),
            "address": self._layout.address,
            "documents": self._layout.embedded_documents_url,
            "processes": dict(self._supervisor.pids),
        }
        path = running_file(self._options.data)
        unfinished = path.with_suffix(".new")
        try:
            unfinished.write_text(json.dumps(note))
            unfinished.replace(path)
        except OSError:
            # A full disk must not keep the supervisor from its work; the note is written once there is room.
            asyncio.get_running_loop().call_later(NOTE_AGAIN_S, self._note_what_runs)


def _simulated(facts: Facts) -> str:
    return " (simulated)" if facts.simulated and "simulated" not in facts.lab else ""


def _knows_its_modules(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/api/v1/health", timeout=5) as answer:  # noqa: S310 - on loopback
            return bool(json.load(answer)["modules"])
    except (OSError, ValueError, KeyError):
        return False


def running_file(data: Path) -> Path:
    """Return the file that tells what runs: there while the stack runs, without secrets."""
    return data / "running.json"


@contextlib.contextmanager
def _own_data_folder(data: Path) -> Iterator[None]:
    """Hold the data folder for as long as the stack runs; two stacks on one folder would undo each other."""
    try:
        (data / "logs").mkdir(parents=True, exist_ok=True)
        lock = (data / "stack.lock").open("a+")
    except OSError as error:
        raise StackError(f"the data folder {data} cannot be used: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise StackError(
                f"another stack (process {holder}) runs on {data}: stop that one, or choose another folder with --data"
            ) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


if sys.platform == "win32":
    raise ImportError("the local stack needs a POSIX system: Linux, macOS, or Windows with WSL")
