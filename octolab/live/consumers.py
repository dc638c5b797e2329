"""The websocket ``/ws/events``: events of everything that the receiver may see."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.conf import settings

from octolab.throttle import SOCKETS, TooMany

from .rights import NOTHING, Receiver, as_message, present_rights
from .tailer import BATCH, events_after, tailer

QUEUE = 2000
CATCH_UP = 5000
"""Events that a socket may ask to be repeated; for more, read ``/api/v1/events``."""

_DIGITS = 18
"""Of a sequence number: more do not fit into a database's integer."""
UNAUTHENTICATED = 4401
TOO_SLOW = 4408
TOO_MANY = 4429
_LONGEST_REASON = 123
"""Bytes of a closing frame's reason."""


class EventsConsumer(AsyncJsonWebsocketConsumer):
    """Sends ``{"type": "event", "seq": …}`` and ``{"type": "live", …}``; takes nothing.

    ``?since=<seq>`` repeats what was missed, ``?job=<id>`` restricts to one job. A receiver who cannot keep up is
    closed with 4408 and reads on from its last ``seq``.
    """

    receiver: Receiver

    async def connect(self) -> None:
        """Accept a socket with a valid credential; others are closed with 4401."""
        self._sender: asyncio.Task[None] | None = None
        self._joined = False
        self._counted = contextlib.ExitStack()
        receiver = self.scope.get("receiver")
        await self.accept()
        if receiver is None:
            await self.close(code=UNAUTHENTICATED)
            return
        self.receiver = receiver
        try:
            self._counted.enter_context(SOCKETS.one_of(f"user:{receiver.user_id}", settings.SOCKETS_PER_USER))
        except TooMany as refusal:
            await self.close(code=TOO_MANY, reason=str(refusal)[:_LONGEST_REASON])
            return
        query = parse_qs(self.scope["query_string"].decode())
        self._job = query.get("job", [None])[0]
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(QUEUE)
        now_seq = await tailer.join(self)
        self._joined = True
        await self.send_json({"type": "hello", "seq": now_seq})
        since = query.get("since", [""])[0]
        if since.isascii() and since.isdigit() and len(since) <= _DIGITS:
            await self._catch_up(int(since), now_seq)
        self._sender = asyncio.create_task(self._send_on())

    async def disconnect(self, code: int) -> None:
        """Leave the tailer."""
        self._counted.close()
        if self._joined:
            tailer.leave(self)
        if self._sender is not None:
            self._sender.cancel()

    async def receive(self, text_data: Any = None, bytes_data: Any = None, **kwargs: Any) -> None:
        """Ignore what a client sends: verbs go over REST, where they are checked and answered."""

    def offer(self, message: dict[str, Any]) -> None:
        """Queue a message; a full queue closes the socket."""
        if self._job is not None and message.get("job") not in (None, self._job):
            return
        try:
            self._queue.put_nowait(message)
        except asyncio.QueueFull:
            self._close_soon(TOO_SLOW)

    def end(self) -> None:
        """Close because the credential has ended."""
        self._close_soon(UNAUTHENTICATED)

    def _close_soon(self, code: int) -> None:
        tailer.leave(self)
        self._closing = asyncio.create_task(self.close(code=code))

    async def _catch_up(self, since: int, until: int) -> None:
        seq = max(since, until - CATCH_UP)
        rights = (await database_sync_to_async(present_rights)([self.receiver])).get(self.receiver, NOTHING)
        while events := await events_after(seq, until):
            for event in events:
                message = as_message(event, rights)
                if message is not None and self._job in (None, message.get("job")):
                    await self.send_json(message)
            seq = events[-1].seq
            if len(events) < BATCH:
                return

    async def _send_on(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                await self.send_json(await self._queue.get())
