"""One child process: started in a session of its own, its output read as it comes, its end awaited.

asyncio's own subprocesses are not used because their ``wait`` goes on for as long as any grandchild holds the
output's pipe: a killed process would not be noticed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping

from .guard import die_with_parent
from .service import Service, StackError

POLL_S = 0.05

Take = Callable[[bytes], None]


class _Output:
    """The reading end of a pipe, handed on until the last writer closes it."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._ended = asyncio.Event()
        self._reader, self.writer = os.pipe()
        os.set_blocking(self._reader, False)
        asyncio.get_running_loop().add_reader(self._reader, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._reader, 65536)
        except BlockingIOError:
            return
        if data:
            self._take(data)
        else:
            self.close()

    def close(self) -> None:
        """Stop reading."""
        if not self._ended.is_set():
            asyncio.get_running_loop().remove_reader(self._reader)
            os.close(self._reader)
            self._ended.set()

    async def drain(self) -> None:
        """Read what the ended process left; a process that escaped with the pipe is not waited for."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), timeout=1)
        self.close()


class Child:
    """A started process.

    Parameters
    ----------
    service
        What to start.
    extra
        Added to the service's environment.
    take_output
        Gets what it prints; None leaves it the terminal.
    take_errors
        Gets what it prints to standard error; None for the same as ``take_output``.

    Raises
    ------
    StackError
        If the program cannot be started.
    """

    def __init__(
        self, service: Service, extra: Mapping[str, str], take_output: Take | None, take_errors: Take | None = None
    ) -> None:
        self._outputs = [_Output(take) for take in (take_output, take_errors) if take]
        output = self._outputs[0].writer if take_output else None
        errors = self._outputs[-1].writer if take_errors else subprocess.STDOUT if take_output else None
        try:
            self._process = subprocess.Popen(  # noqa: S603
                service.command,
                stdin=subprocess.PIPE if service.standard_input else subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env={**service.environment, **extra},
                cwd=service.directory,
                start_new_session=True,
                preexec_fn=die_with_parent(),
            )
        except OSError as error:
            for channel in self._outputs:
                channel.close()
            raise StackError(f"{service.name} cannot be started: {service.command[0]}: {error.strerror}") from error
        finally:
            for channel in self._outputs:
                os.close(channel.writer)
        if self._process.stdin:
            with contextlib.suppress(OSError):
                self._process.stdin.write(service.standard_input)
                self._process.stdin.close()

    @property
    def pid(self) -> int:
        """Its process id, which is its group's too."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Its return code, negative for a signal; None while it runs."""
        return self._process.poll()

    async def wait(self) -> int:
        """Return its code when it has ended."""
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                await self._wait_by_descriptor()
        while (code := self.code) is None:
            await asyncio.sleep(POLL_S)
        return code

    async def _wait_by_descriptor(self) -> None:
        if self.code is not None:
            return
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        descriptor = os.pidfd_open(self.pid)
        try:
            loop.add_reader(descriptor, ended.set)
            await ended.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)

    async def end(self, within_s: float, hurry: asyncio.Event | None = None) -> bool:
        """Ask it to end and kill it if it does not in time, or is in a hurry; return whether it ended by itself."""
        if self.code is None:
            self._process.terminate()
        ended = asyncio.create_task(self.wait())
        hurried = asyncio.create_task((hurry or asyncio.Event()).wait())
        await asyncio.wait({ended, hurried}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        by_itself = ended.done()
        if not by_itself:
            self.sweep()
            await ended
        hurried.cancel()
        return by_itself

    def sweep(self) -> None:
        """Kill whatever still lives in its process group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    async def drain(self) -> None:
        """After its end: read the rest of its output."""
        for channel in self._outputs:
            await channel.drain()
