"""Starts services in order, restarts what crashes, and stops everything in the reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from .guard import Guard, die_with_parent
from .logs import ProcessLog
from .service import Service, StackError

FIRST_BACK_OFF_S = 0.2
LONGEST_BACK_OFF_S = 30.0
STEADY_S = 60.0
"""A process that ran this long is forgiven its earlier crashes."""
START_TRIES = 3

Report = Callable[[str], None]


def how_it_ended(code: int) -> str:
    """Say in words what a return code means."""
    if code >= 0:
        return f"ended with code {code}"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-code).name}"
    return f"was killed by signal {-code}"


class NotReady(Exception):
    """A process that was started did not become ready."""

    def __init__(self, text: str, *, ended_by_itself: bool) -> None:
        super().__init__(text)
        self.ended_by_itself = ended_by_itself


class Running:
    """One service and its present process."""

    def __init__(self, service: Service, log: ProcessLog) -> None:
        self.service = service
        self.log = log
        self.process: asyncio.subprocess.Process | None = None
        self.restarts = 0
        self.watcher: asyncio.Task[None] | None = None
        self.reader: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Process id, while it runs."""
        return self.process.pid if self.process and self.process.returncode is None else None


class Supervisor:
    """Owns the processes of a stack.

    Parameters
    ----------
    log_folder
        Where each process's log goes.
    report
        Called with one line for people when something happens.
    """

    def __init__(self, log_folder: Path, report: Report) -> None:
        self._log_folder = log_folder
        self._report = report
        self._guard = Guard()
        self._running: list[Running] = []
        self._stopping = False

    @property
    def pids(self) -> Mapping[str, int]:
        """Process ids of what runs, by name."""
        return {running.service.name: running.pid for running in self._running if running.pid is not None}

    async def start(self, *services: Service) -> None:
        """Start services at the same time and return when all are ready.

        Raises
        ------
        StackError
            If one does not become ready, with the end of its log.
        """
        starting = []
        for service in services:
            running = Running(service, ProcessLog(self._log_folder / f"{service.name}.log"))
            self._running.append(running)
            starting.append(asyncio.create_task(self._first_start(running)))
        try:
            await asyncio.gather(*starting)
        except BaseException:
            for task in starting:
                task.cancel()
            await asyncio.gather(*starting, return_exceptions=True)
            raise

    async def run(self, service: Service, on_output: Callable[[bytes], None] | None = None) -> int:
        """Run a process to its end and return its code.

        Its output goes to ``on_output``, and its errors to its log; without ``on_output`` the process uses
        the terminal.
        """
        log = ProcessLog(self._log_folder / f"{service.name}.log")
        process = await self._spawn(service, {}, piped=on_output is not None, separate_errors=True)
        try:
            if on_output is not None:
                assert process.stdout is not None
                assert process.stderr is not None
                errors = asyncio.create_task(_copy(process.stderr, log))
                while data := await process.stdout.read(65536):
                    on_output(data)
                await errors
            return await process.wait()
        finally:
            log.close()
            if process.returncode is None:
                await self._end(process, service.stop_within_s)
            self._sweep(process.pid)

    def last_words(self, name: str) -> str:
        """Return the end of a process's log file."""
        path = self._log_folder / f"{name}.log"
        if not path.exists():
            return ""
        return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])

    async def stop(self, hurry: asyncio.Event) -> None:
        """Stop everything, last started first; ``hurry`` kills what has not ended yet."""
        self._stopping = True
        for running in self._running:
            if running.watcher:
                running.watcher.cancel()
        for running in reversed(self._running):
            process = running.process
            if process and process.returncode is None:
                if running.service.stop_note:
                    self._report(f"stopping {running.service.name}: {running.service.stop_note}")
                if not await self._end(process, running.service.stop_within_s, hurry):
                    self._report(f"{running.service.name} did not end in time and was killed")
            await self._clear_away(running)
            running.log.close()
        self._running.clear()
        self._guard.close()

    # --- one process -------------------------------------------------------------------------------------------

    async def _first_start(self, running: Running) -> None:
        for attempt in range(1, START_TRIES + 1):
            started_s = time.monotonic()
            try:
                note = await self._try_start(running)
            except NotReady as error:
                if error.ended_by_itself and attempt < START_TRIES:
                    await asyncio.sleep(FIRST_BACK_OFF_S * attempt)
                    continue
                log = running.log
                raise StackError(
                    f"{running.service.name} {error}. Its log, {log.path}, ends with:\n\n{log.tail()}"
                ) from error
            took_s = time.monotonic() - started_s
            self._report(f"{running.service.name:<11} ready after {took_s:.1f} s{note and f' ({note})'}")
            running.watcher = asyncio.create_task(self._keep_running(running))
            return

    async def _try_start(self, running: Running) -> str:
        """Start once and return the process's note when it is ready.

        Raises
        ------
        NotReady
            If it ended, or was not ready in time; then nothing of it is left.
        """
        service = running.service
        async with service.ready.watch() as wait:
            running.process = process = await self._spawn(service, wait.environment)
            assert process.stdout is not None
            running.reader = asyncio.create_task(_copy(process.stdout, running.log))
            ready = asyncio.create_task(wait.ready())
            ended = asyncio.create_task(process.wait())
            try:
                await asyncio.wait({ready, ended}, timeout=service.ready_within_s, return_when=asyncio.FIRST_COMPLETED)
                if ready.done() and not ended.done():
                    return ready.result()
            finally:
                ready.cancel()
                ended.cancel()
                await asyncio.gather(ready, ended, return_exceptions=True)
        code = process.returncode
        if code is None:
            await self._end(process, service.stop_within_s)
        await self._clear_away(running)
        if code is None:
            raise NotReady(f"was not ready within {service.ready_within_s:g} s", ended_by_itself=False)
        raise NotReady(how_it_ended(code), ended_by_itself=True)

    async def _keep_running(self, running: Running) -> None:
        name = running.service.name
        back_off_s = FIRST_BACK_OFF_S
        while True:
            ready_s = time.monotonic()
            assert running.process is not None
            what_happened = how_it_ended(await running.process.wait())
            await self._clear_away(running)
            if time.monotonic() - ready_s > STEADY_S:
                back_off_s = FIRST_BACK_OFF_S
            while True:
                self._report(f"{name} {what_happened}; starting it again in {back_off_s:g} s")
                await asyncio.sleep(back_off_s)
                back_off_s = min(back_off_s * 2, LONGEST_BACK_OFF_S)
                running.restarts += 1
                try:
                    await self._try_start(running)
                except (NotReady, StackError) as error:
                    what_happened = str(error)
                    continue
                self._report(f"{name} is ready again")
                break

    async def _clear_away(self, running: Running) -> None:
        """Remove what is left of an ended process: members of its group, and output that was not read yet."""
        if running.process:
            self._sweep(running.process.pid)
        if running.reader:
            await asyncio.wait({running.reader}, timeout=2)
            running.reader.cancel()
            running.log.end()

    async def _spawn(
        self, service: Service, extra: Mapping[str, str], *, piped: bool = True, separate_errors: bool = False
    ) -> asyncio.subprocess.Process:
        if service.before_start:
            service.before_start()
        pipe, devnull = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        try:
            process = await asyncio.create_subprocess_exec(
                *service.command,
                stdin=pipe if service.standard_input else devnull,
                stdout=pipe if piped else None,
                stderr=(pipe if separate_errors else asyncio.subprocess.STDOUT) if piped else None,
                env={**service.environment, **extra},
                cwd=service.directory,
                start_new_session=True,
                preexec_fn=die_with_parent(),
            )
        except OSError as error:
            raise StackError(f"{service.name} cannot be started: {service.command[0]}: {error.strerror}") from error
        self._guard.note(process.pid)
        if service.standard_input:
            assert process.stdin is not None
            process.stdin.write(service.standard_input)
            with contextlib.suppress(OSError):
                await process.stdin.drain()
            process.stdin.close()
        return process

    async def _end(
        self, process: asyncio.subprocess.Process, within_s: float, hurry: asyncio.Event | None = None
    ) -> bool:
        """Ask a process to end, kill it if it does not; return whether it ended by itself."""
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        ended = asyncio.create_task(process.wait())
        waiting = {ended}
        if hurry is not None:
            waiting.add(asyncio.create_task(_wait_for(hurry)))
        await asyncio.wait(waiting, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        by_itself = ended.done()
        if not by_itself:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await ended
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return by_itself

    def _sweep(self, group: int) -> None:
        """Kill what an ended process left in its group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
        self._guard.forget(group)


async def _copy(stream: asyncio.StreamReader, log: ProcessLog) -> None:
    while data := await stream.read(65536):
        log.write(data)
    log.end()


async def _wait_for(event: asyncio.Event) -> int:
    await event.wait()
    return 0


def use_quiet_child_watcher() -> None:
    """Let the event loop learn of ended children without a thread for each (the default from Python 3.12 on)."""
    if sys.version_info < (3, 12) and hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):
            os.close(os.pidfd_open(os.getpid()))
            asyncio.set_child_watcher(asyncio.PidfdChildWatcher())
