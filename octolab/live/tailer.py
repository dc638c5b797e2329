"""The tailer: one per web process. Reads the event log on, and hands each socket what it may see."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any, Protocol
from uuid import UUID

import redis.asyncio
import structlog
from channels.db import database_sync_to_async
from django.conf import settings
from redis.exceptions import RedisError

from modules.contract.messages import EVENTS_BELL, LIVE_CHANNEL
from scheduler.models import Event, Leader

from .rights import NOTHING, Receiver, Rights, as_message, present_rights

log = structlog.get_logger(__name__)

POLL_S = 1.0
"""How late an event may come when its bell was lost."""
BATCH = 500
RIGHTS_AGE_S = 2.0
"""How old rights may be for unsequenced progress; events are always checked anew."""


class Socket(Protocol):
    """An open socket, as the tailer sees it."""

    receiver: Receiver

    def offer(self, message: dict[str, Any]) -> None:
        """Queue a message for sending; never blocks."""

    def end(self) -> None:
        """Close: the credential does not hold any more."""


class Tailer:
    """Fans out events to the sockets of this process."""

    def __init__(self) -> None:
        self._sockets: set[Socket] = set()
        self._task: asyncio.Task[None] | None = None
        self._seq = 0
        self._rights: dict[Receiver, Rights] = {}
        self._rights_at = 0.0

    async def join(self, socket: Socket) -> int:
        """Add a socket; return the sequence number after which it will get events."""
        if self._task is None or self._task.done():
            self._seq = await _last_seq()
            self._task = asyncio.create_task(self._run(), name="event tailer")
        self._sockets.add(socket)
        return self._seq

    def leave(self, socket: Socket) -> None:
        """Remove a socket; the last one stops the tailer."""
        self._sockets.discard(socket)
        if not self._sockets and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        while True:
            try:
                await self._follow()
            except (RedisError, OSError) as error:
                log.warning("live events fall back to polling", error=str(error))
                await self._read_on()
                await asyncio.sleep(POLL_S)
            except Exception:
                log.exception("the event tailer stumbled")
                await asyncio.sleep(POLL_S)

    async def _follow(self) -> None:
        client = redis.asyncio.from_url(settings.REDIS_URL, socket_connect_timeout=2)
        try:
            async with client.pubsub() as bells:
                await bells.subscribe(EVENTS_BELL, LIVE_CHANNEL)
                while True:
                    message = await bells.get_message(ignore_subscribe_messages=True, timeout=POLL_S)
                    if message is not None and message["channel"] == LIVE_CHANNEL.encode():
                        await self._spread_live(message["data"])
                    else:
                        await self._read_on()
        finally:
            with contextlib.suppress(RedisError, OSError):
                await client.aclose()

    async def _read_on(self) -> None:
        rights = await self._refresh_rights()
        for socket in list(self._sockets):
            if socket.receiver in rights and not rights[socket.receiver].alive:
                socket.end()
        while events := await events_after(self._seq):
            for event in events:
                await self._know_all(rights)
                # Nothing is awaited from here to the next event: who joins meanwhile begins behind a whole event.
                for socket in list(self._sockets):
                    message = as_message(event, rights[socket.receiver])
                    if message is not None:
                        socket.offer(message)
                self._seq = event.seq
            if len(events) < BATCH:
                return

    async def _know_all(self, rights: dict[Receiver, Rights]) -> None:
        """Look up the rights of those who have joined since."""
        while unknown := {socket.receiver for socket in self._sockets} - rights.keys():
            rights.update(await database_sync_to_async(present_rights)(unknown))

    async def _spread_live(self, data: bytes) -> None:
        if asyncio.get_running_loop().time() - self._rights_at > RIGHTS_AGE_S:
            await self._refresh_rights()
        try:
            live = json.loads(data)
            project, job = UUID(live["project_id"]), live["job_id"]
        except (ValueError, KeyError, TypeError):
            return
        message = {"type": "live", "job": job} | {
            key: live[key] for key in ("step_id", "progress", "reading", "text") if live.get(key) is not None
        }
        for socket in list(self._sockets):
            if project in self._rights.get(socket.receiver, NOTHING).projects:
                socket.offer(message)

    async def _refresh_rights(self) -> dict[Receiver, Rights]:
        receivers = {socket.receiver for socket in self._sockets}
        self._rights = await database_sync_to_async(present_rights)(receivers)
        self._rights_at = asyncio.get_running_loop().time()
        return self._rights


@database_sync_to_async
def _last_seq() -> int:
    return Leader.objects.filter(id=1).values_list("last_event_seq", flat=True).first() or 0


@database_sync_to_async
def events_after(seq: int, until: int | None = None) -> list[Event]:
    """Return the next batch of events after a sequence number, in order."""
    rows = Event.objects.filter(seq__gt=seq).order_by("seq")
    if until is not None:
        rows = rows.filter(seq__lte=until)
    return list(rows[:BATCH])


tailer = Tailer()
