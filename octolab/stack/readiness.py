"""Probes: when is a process ready to do its work?

A probe is prepared anew for every start of a process, may add to its environment, and is then awaited.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

POLL_S = 0.05


class Wait(Protocol):
    """One start's wait."""

    environment: Mapping[str, str]

    async def ready(self) -> str:
        """Return once the process is ready, with a line for people."""
        ...


class Probe(Protocol):
    """A way to learn that a process is ready."""

    def watch(self) -> contextlib.AbstractAsyncContextManager[Wait]:
        """Prepare for one start."""
        ...


async def _exchange(port: int, request: bytes) -> bytes:
    """Send to a loopback port and return the first bytes of the answer; empty if nobody answers."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return b""
    try:
        if not request:
            return b"connected"
        writer.write(request)
        await writer.drain()
        return await asyncio.wait_for(reader.read(200), timeout=5)
    except (OSError, TimeoutError):
        return b""
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@dataclass
class _Polled:
    port: int
    request: bytes
    answer: bytes
    environment: Mapping[str, str]

    async def ready(self) -> str:
        while True:
            if self.answer in await _exchange(self.port, self.request):
                return f"port {self.port}"
            await asyncio.sleep(POLL_S)


@dataclass(frozen=True)
class PortAnswers:
    """The process answers on its loopback port."""

    port: int
    request: bytes = b""
    answer: bytes = b"connected"
    """What must stand in the first bytes of the answer; by default it is enough that the port is open."""

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[Wait]:
        """Prepare for one start."""
        yield _Polled(self.port, self.request, self.answer, {})


def answers_http(port: int, path: str) -> PortAnswers:
    """Return a probe for a web server: ready when the path answers 200."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    return PortAnswers(port, request.encode(), b"HTTP/1.1 200")


@dataclass
class _Notified:
    listener: socket.socket
    environment: Mapping[str, str]

    async def ready(self) -> str:
        loop = asyncio.get_running_loop()
        while True:
            lines = (await loop.sock_recv(self.listener, 4096)).decode(errors="replace").splitlines()
            if "READY=1" in lines:
                return next((line.removeprefix("STATUS=") for line in lines if line.startswith("STATUS=")), "")


@dataclass(frozen=True)
class Notifies:
    """The process says so itself: see :mod:`modules.contract.ready`."""

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[Wait]:
        """Prepare for one start."""
        folder: Path | None = None
        if sys.platform == "linux":
            # No file, hence nothing left behind whatever happens to us.
            bind_to = shown = f"octolab-{secrets.token_hex(12)}"
            bind_to, shown = f"\0{bind_to}", f"@{shown}"
        else:
            folder = Path(tempfile.mkdtemp(prefix="octolab-"))
            bind_to = shown = os.fspath(folder / "notify")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            listener.setblocking(False)
            listener.bind(bind_to)
            yield _Notified(listener, {"NOTIFY_SOCKET": shown})
        finally:
            listener.close()
            if folder:
                shutil.rmtree(folder, ignore_errors=True)
