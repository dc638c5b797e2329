"""Connections that neither a slow nor a talkative client can hold: uvicorn's, with bounds of their own.

uvicorn reads a request's head without end and waits for it without end, and waits for ever for a client that takes
nothing. Named to it with ``--http`` and ``--ws``; see :func:`octolab.stack.layout.web_command`.
"""

from __future__ import annotations

import asyncio
import resource
from http import HTTPStatus
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

HEAD_BYTES = 64 * 1024
"""Of request line and headers; the last piece that was read may go beyond."""
HEAD_TIMEOUT_S = 20.0
"""How long a client may take to send a request's head."""
STALL_TIMEOUT_S = 60.0
"""How long a client may take nothing of what waits for it."""
MOST_WITHOUT_HEAD = 500
"""Connections that may be in the midst of a request's head. When one more comes, the one that has taken longest ends:
decent clients send it at once, however many others do not."""
_OPEN_FILES = 65_536


def _allow_open_files() -> None:
    """Let this process have as many connections as it may, not only the 1024 that it is usually started with."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


_allow_open_files()


class Impatient(asyncio.Protocol):
    """Drops clients that take nothing of what is sent to them."""

    transport: Any
    _stalled: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """Begin to wait for the client."""
        super().pause_writing()
        self._stalled = asyncio.get_running_loop().call_later(STALL_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the client takes something."""
        super().resume_writing()
        self._forget()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._forget()
        super().connection_lost(exc)

    def _forget(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None


class SocketConnection(Impatient, WebSocketsSansIOProtocol):
    """A websocket."""


class HttpConnection(Impatient, HttpToolsProtocol):
    """An HTTP connection, which may become a websocket."""

    _in_head = True
    _head_bytes = 0
    _late: asyncio.TimerHandle | None = None
    _without_head: ClassVar[dict[HttpConnection, None]] = {}
    """In the order in which they began to send one."""

    def connection_made(self, transport: Any) -> None:
        """Wait for the first request's head, but not for ever."""
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Parse what has come, and refuse a head that does not end."""
        if self._in_head:
            self._expect_head()
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_headers_complete(self) -> None:
        """Go on with the body."""
        self._in_head, self._head_bytes = False, 0
        self._no_longer_late()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Go on with the next request's head, which has its time from its first byte on."""
        super().on_message_complete()
        self._in_head = True

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._no_longer_late()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        if self._late is None:
            loop = asyncio.get_running_loop()
            self._late = loop.call_later(HEAD_TIMEOUT_S, self.refuse, HTTPStatus.REQUEST_TIMEOUT)
            self._without_head[self] = None
            if len(self._without_head) > MOST_WITHOUT_HEAD:
                next(iter(self._without_head)).refuse(HTTPStatus.REQUEST_TIMEOUT)

    def _no_longer_late(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
            self._without_head.pop(self, None)

    def refuse(self, status: HTTPStatus) -> None:
        """Answer with a status, if that makes sense, and close."""
        self._no_longer_late()
        # While an earlier request of the connection is still answered, the refusal would stand in its midst.
        if self._head_bytes and (self.cycle is None or self.cycle.response_complete):
            line = f"HTTP/1.1 {status} {status.phrase}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            self.transport.write(line.encode())
        self.transport.close()
