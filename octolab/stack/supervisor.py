"""Starts services in order, restarts what crashes, and stops everything in the reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from .child import Child
from .guard import Guard
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


class NotReadyError(Exception):
    """A process that was started did not become ready."""

    def __init__(self, text: str, *, ended_by_itself: bool) -> None:
        super().__init__(text)
        self.ended_by_itself = ended_by_itself


class _Running:
    """One service and its present process."""

    def __init__(self, service: Service, log: ProcessLog) -> None:
        self.service = service
        self.log = log
        self.child: Child | None = None
        self.watcher: asyncio.Task[None] | None = None


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
        self._running: list[_Running] = []

    @property
    def pids(self) -> Mapping[str, int]:
        """Process ids of what runs, by name."""
        return {r.service.name: r.child.pid for r in self._running if r.child and r.child.code is None}

    async def start(self, *services: Service) -> None:
        """Start services at the same time and return when all are ready.

        Raises
        ------
        StackError
            If one does not become ready, with the end of its log.
        """
        running = [_Running(service, self._open_log(service)) for service in services]
        self._running += running
        starting = [asyncio.create_task(self._first_start(one)) for one in running]
        try:
            await asyncio.gather(*starting)
        finally:
            for task in starting:
                task.cancel()
            await asyncio.gather(*starting, return_exceptions=True)

    async def run(self, service: Service, take_output: Callable[[bytes], None] | None = None) -> int:
        """Run a process to its end and return its code.

        Its output goes to ``take_output``, and its errors to its log; without ``take_output`` the process uses
        the terminal.
        """
        log = self._open_log(service)
        child = self._spawn(service, {}, take_output, log.write if take_output else None)
        try:
            return await child.wait()
        finally:
            await child.end(service.stop_within_s)
            await self._clear_away(child)
            log.close()

    def last_words(self, name: str) -> str:
        """Return the end of a process's log file."""
        path = self._log_folder / f"{name}.log"
        if not path.exists():
            return ""
        return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])

    async def stop(self, hurry: asyncio.Event) -> None:
        """Stop everything, last started first; ``hurry`` kills what has not ended yet."""
        for running in self._running:
            if running.watcher:
                running.watcher.cancel()
        for running in reversed(self._running):
            service, child = running.service, running.child
            if child and child.code is None:
                if service.stop_note:
                    self._report(f"stopping {service.name}: {service.stop_note}")
                if not await child.end(service.stop_within_s, hurry):
                    self._report(f"{service.name} did not end in time and was killed")
            if child:
                await self._clear_away(child)
            running.log.close()
        self._running.clear()
        self._guard.close()

    # --- one process -------------------------------------------------------------------------------------------

    async def _first_start(self, running: _Running) -> None:
        for attempt in range(1, START_TRIES + 1):
            started_s = time.monotonic()
            try:
                child, note = await self._try_start(running)
            except NotReadyError as error:
                if error.ended_by_itself and attempt < START_TRIES:
                    await asyncio.sleep(FIRST_BACK_OFF_S * attempt)
                    continue
                log = running.log
                raise StackError(
                    f"{running.service.name} {error}. Its log, {log.path}, ends with:\n\n{log.tail()}"
                ) from error
            took_s = time.monotonic() - started_s
            self._report(f"{running.service.name:<11} ready after {took_s:.1f} s{note and f' ({note})'}")
            running.watcher = asyncio.create_task(self._keep_running(running, child))
            return

    async def _try_start(self, running: _Running) -> tuple[Child, str]:
        """Start once and return the process, and its note, when it is ready.

        Raises
        ------
        NotReadyError
            If it ended, or was not ready in time; then nothing of it is left.
        """
        service = running.service
        async with service.ready.watch() as wait:
            running.child = child = self._spawn(service, wait.environment, running.log.write)
            ready = asyncio.create_task(wait.ready())
            ended = asyncio.create_task(child.wait())
            try:
                await asyncio.wait({ready, ended}, timeout=service.ready_within_s, return_when=asyncio.FIRST_COMPLETED)
                # If both are done, another program answered on the port, and ours gave up because of it.
                if ready.done() and not ended.done():
                    return child, ready.result()
            finally:
                ready.cancel()
                ended.cancel()
                await asyncio.gather(ready, ended, return_exceptions=True)
        code = child.code
        await child.end(service.stop_within_s)
        await self._clear_away(child)
        if code is None:
            raise NotReadyError(f"was not ready within {service.ready_within_s:g} s", ended_by_itself=False)
        raise NotReadyError(how_it_ended(code), ended_by_itself=True)

    async def _keep_running(self, running: _Running, child: Child) -> None:
        name = running.service.name
        back_off_s = FIRST_BACK_OFF_S
        while True:
            ready_s = time.monotonic()
            what_happened = how_it_ended(await child.wait())
            await self._clear_away(child)
            if time.monotonic() - ready_s > STEADY_S:
                back_off_s = FIRST_BACK_OFF_S
            while True:
                self._report(f"{name} {what_happened}; starting it again in {back_off_s:g} s")
                await asyncio.sleep(back_off_s)
                back_off_s = min(back_off_s * 2, LONGEST_BACK_OFF_S)
                try:
                    child, _ = await self._try_start(running)
                except (NotReadyError, StackError) as error:
                    what_happened = str(error)
                    continue
                self._report(f"{name} is ready again")
                break

    def _spawn(
        self,
        service: Service,
        extra: Mapping[str, str],
        take_output: Callable[[bytes], None] | None,
        take_errors: Callable[[bytes], None] | None = None,
    ) -> Child:
        if service.before_start:
            service.before_start()
        child = Child(service, extra, take_output, take_errors)
        self._guard.note(child.pid)
        return child

    async def _clear_away(self, child: Child) -> None:
        """Remove what is left of an ended process: members of its group, and output that was not read yet."""
        child.sweep()
        self._guard.forget(child.pid)
        await child.drain()

    def _open_log(self, service: Service) -> ProcessLog:
        return ProcessLog(self._log_folder / f"{service.name}.log")
