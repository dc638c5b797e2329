"""Clients that are slow, and clients that send much: others are served meanwhile, and memory stays bounded."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis
from uvicorn import Config
from uvicorn.server import ServerState
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from modules.contract.messages import EVENTS_BELL
from octolab import connections
from tests.abuse.conftest import As
from tests.abuse.raw import resident_mb, status_of
from tests.web import WebServer

NOOP: dict[str, Any] = {"name": "Nothing", "workflow": [{"task": "virtual.noop"}]}
MOST_GROWTH_MB = 60.0
"""Of the web process under attack; what is sent to it is many times more."""


@contextlib.contextmanager
def opened(server: WebServer, number: int) -> Iterator[list[socket.socket]]:
    """Open connections."""
    with contextlib.ExitStack() as stack:
        address = ("127.0.0.1", server.port)
        yield [stack.enter_context(socket.create_connection(address, timeout=30)) for _ in range(number)]


def served(by_token: As) -> None:
    """Others get their answers."""
    for _ in range(5):
        assert by_token("ben").get("/me", timeout=30).status_code == 200
    assert by_token("ben").post("/jobs", json=NOOP, timeout=30).status_code == 202


def test_slow_headers_hold_nobody_up(server: WebServer, by_token: As) -> None:
    with opened(server, 300) as slow:
        for connection in slow:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: 127")
        served(by_token)
        for connection in slow:
            connection.sendall(b".")
        served(by_token)


def test_slow_bodies_hold_nobody_up_and_fill_no_memory(server: WebServer, by_token: As) -> None:
    head = b"POST /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2000000\r\n\r\n"
    before_mb = resident_mb(server.pid)
    with opened(server, 200) as slow:
        for connection in slow:
            connection.sendall(head + b" " * 1_500_000)
        served(by_token)
        assert resident_mb(server.pid) - before_mb < 2 * MOST_GROWTH_MB, "300 MB were sent"


@pytest.mark.parametrize("beginning", [b"GET /", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: ", b"G"])
def test_a_head_without_end_is_refused(server: WebServer, beginning: bytes) -> None:
    before_mb = resident_mb(server.pid)
    with opened(server, 1) as [connection]:
        answer = b""
        with contextlib.suppress(ConnectionError):
            connection.sendall(beginning)
            for number in range(4000):
                line = b"x" * 10_000 if not beginning.endswith(b"\n") else b"x-%d: %s\r\n" % (number, b"x" * 10_000)
                connection.sendall(line)
        with contextlib.suppress(ConnectionError):
            answer = connection.recv(65536)
        assert status_of(answer) in {0, 400, 431}
        assert resident_mb(server.pid) - before_mb < 20


def test_large_and_deep_jobs_leave_memory_as_it_was(server: WebServer, by_token: As) -> None:
    ann, million = by_token("ann"), 1_000_000
    yaml, as_json = {"Content-Type": "application/yaml"}, {"Content-Type": "application/json"}
    attacks: list[tuple[str, dict[str, str]]] = [
        ("[" * million, as_json),
        ("[" * million, yaml),
        ('{"a":' * (million // 5), as_json),
        ("a: " * (million // 3), yaml),
        ("- " * (million // 2), yaml),
        ("? " * (million // 2), yaml),
        ('{"name":"x","workflow":[' + "[]," * (million // 3) + "[]]}", as_json),
        ("name: x\nworkflow:\n" + "- {task: virtual.noop}\n" * 40_000, yaml),
        (json.dumps({"document": "[" * million}), as_json),
        (json.dumps({**NOOP, "description": "x" * million}), as_json),
        (json.dumps({**NOOP, "parameters": {f"p{n}": n for n in range(60_000)}}), as_json),
        (
            json.dumps(
                {**NOOP, "samples": {"sweep": {f"p{n}": {"from": 0, "to": 1, "count": 500} for n in range(50)}}}
            ),
            as_json,
        ),
        ('{"name": ' + "9" * million + "}", as_json),
        ("name: " + "9" * million, yaml),
        (
            "a: &a ["
            + "x," * 100
            + "]\n"
            + "".join(f"b{n}: &b{n} [" + f"*{'a' if not n else f'b{n - 1}'}," * 50 + "]\n" for n in range(9)),
            yaml,
        ),
        ("%TAG ! tag:x,2000:\n---\n" * 20_000, yaml),
        ("--- a\n" * 100_000, yaml),
        ("'" * million, yaml),
        ("|" + "\n " * (million // 2), yaml),
    ]
    for text, media_type in attacks:
        ann.post("/jobs", content=text, headers=media_type)
    before_mb = resident_mb(server.pid)
    for text, media_type in attacks:
        answer = ann.post("/jobs/preview", content=text, headers=media_type)
        assert answer.status_code in {400, 422}, (text[:30], answer.status_code, answer.text[:200])
        assert len(answer.content) < 100_000
    assert resident_mb(server.pid) - before_mb < MOST_GROWTH_MB, "20 MB were sent"


def test_slow_readers_of_an_answer_hold_nobody_up(server: WebServer, by_token: As) -> None:
    before_mb = resident_mb(server.pid)
    with opened(server, 60) as slow:
        for connection in slow:
            connection.sendall(b"GET /static/large.bin HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        served(by_token)
        for connection in slow:
            assert connection.recv(10)
        served(by_token)
        assert resident_mb(server.pid) - before_mb < MOST_GROWTH_MB, "300 MB were asked for"


def tell(server: WebServer, events: int, text: str) -> int:
    """Let things happen to ann's job; return the last one's number."""
    database = sqlite3.connect(server.directory / "octolab.sqlite3", timeout=30)
    with contextlib.closing(database), database:
        [last] = database.execute("SELECT max(seq) FROM scheduler_event").fetchone()
        database.executemany(
            "INSERT INTO scheduler_event (seq, at, lab_s, kind, subject, job_id, project_id, state_from, state_to,"
            " actor, reason, data) SELECT ?, '2026-01-01 00:00:00', 1, 'job', 'x', id, project_id, '', 'running',"
            " '', ?, '{}' FROM scheduler_job WHERE id = ?",
            [(last + 1 + n, text, server.people["ann"]["job"].replace("-", "")) for n in range(events)],
        )
        database.execute("UPDATE scheduler_leader SET last_event_seq = ?", (last + events,))
    with redis.Redis.from_url(server.environment["OCTOLAB_REDIS_URL"]) as bell:
        bell.publish(EVENTS_BELL, "")
    return int(last) + events


def websocket(server: WebServer, connection: socket.socket, query: str = "") -> None:
    """Open the event stream as ann by hand, and read nothing but the hello."""
    head = f"GET /ws/events{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    head += "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    connection.sendall(f"{head}Authorization: Bearer {server.people['ann']['token']}\r\n\r\n".encode())
    received = b""
    while b"hello" not in received:
        part = connection.recv(4096)
        assert part, received
        received += part


def test_slow_readers_of_websockets_and_event_streams_hold_nobody_up(server: WebServer, by_token: As) -> None:
    """Forty sockets read nothing while 40 MB of events happen to each; one that reads gets them all."""
    with opened(server, 41) as [quick, *slow]:
        for connection in slow:
            websocket(server, connection)
        websocket(server, quick)
        before_mb = resident_mb(server.pid)
        served(by_token)
        for _ in range(8):
            last = tell(server, 500, "x" * 10_000)
            found, give_up_at = b"", time.monotonic() + 60
            while f'"seq": {last}'.encode() not in found and f'"seq":{last}'.encode() not in found:
                assert time.monotonic() < give_up_at
                part = quick.recv(1 << 20)
                assert part, "the quick one was closed"
                found = found[-200:] + part
            served(by_token)
        since = by_token("ann").get(f"/events?since={last - 5}").json()
        assert len(since["results"]) == 5
        assert resident_mb(server.pid) - before_mb < 2 * MOST_GROWTH_MB, "1600 MB were waiting to be sent"


def test_oversized_and_deep_messages_over_a_websocket_end_it_and_fill_no_memory(
    server: WebServer, by_token: As
) -> None:
    """What is small is ignored, however deep; what is large ends the socket before it is kept."""
    token = {"Authorization": f"Bearer {server.people['ann']['token']}"}
    before_mb = resident_mb(server.pid)
    for message in ("[" * 4000, '{"a":' * 800, "\x00" * 4000):
        with connect(f"ws://127.0.0.1:{server.port}/ws/events", additional_headers=token, proxy=None) as deep:
            deep.recv(timeout=20)
            for _ in range(200):
                deep.send(message)
            assert deep.ping().wait(20), "it lives on"
    for large in ("[" * 10_000_000, b"\x00" * 10_000_000, ["x" * 1000] * 10_000):
        with connect(f"ws://127.0.0.1:{server.port}/ws/events", additional_headers=token, proxy=None) as socket_:
            socket_.recv(timeout=20)
            with contextlib.suppress(ConnectionClosed):
                socket_.send(large)
            with pytest.raises(ConnectionClosed) as closed:
                socket_.recv(timeout=20)
            assert closed.value.rcvd is None or closed.value.rcvd.code == 1009
    served(by_token)
    assert resident_mb(server.pid) - before_mb < MOST_GROWTH_MB, "30 MB were sent"


# --- what ends after a while, with shorter whiles


@contextlib.asynccontextmanager
async def impatient(monkeypatch: pytest.MonkeyPatch, **whiles: float) -> AsyncIterator[int]:
    """Serve a simple application with our connections; yield the port."""
    for name, seconds in whiles.items():
        monkeypatch.setattr(connections, name, seconds)

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"transfer-encoding", b"chunked")]})
        for _ in range(10_000 if scope["path"] == "/much" else 0):
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            await asyncio.sleep(0)  # what is sent to a lost connection waits for nothing
        await send({"type": "http.response.body", "body": b"fine"})

    config = Config(application, lifespan="off", log_level="critical")
    config.load()
    made: list[connections.HttpConnection] = []

    def make() -> connections.HttpConnection:
        made.append(connections.HttpConnection(config, ServerState(), {}))
        return made[-1]

    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for one in made:
            one.transport.abort()


@pytest.mark.asyncio
@pytest.mark.parametrize("beginning", [b"", b"G", b"GET / HTTP/1.1\r\nHost: x"])
async def test_a_head_that_does_not_come_ends_the_connection(monkeypatch: pytest.MonkeyPatch, beginning: bytes) -> None:
    async with impatient(monkeypatch, HEAD_TIMEOUT_S=0.2) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(beginning)
        answer = await asyncio.wait_for(reader.read(), 20)
        writer.close()
    assert status_of(answer) == (408 if beginning else 0)


@pytest.mark.asyncio
async def test_of_too_many_slow_heads_the_oldest_end_and_decent_clients_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with impatient(monkeypatch, MOST_WITHOUT_HEAD=10) as port:
        slow = []
        for _ in range(50):
            slow.append(await asyncio.open_connection("127.0.0.1", port))
            slow[-1][1].write(b"GET / HTTP/1.1\r\n")
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert b"200 OK" in await asyncio.wait_for(reader.read(), 20)
            writer.close()
        ended = [await asyncio.wait_for(reader.read(), 20) for reader, _ in slow[:-10]]
        assert {status_of(answer) for answer in ended} == {408}
        # The last ones may still go on.
        slow[-1][1].write(b"Host: x\r\nConnection: close\r\n\r\n")
        assert status_of(await asyncio.wait_for(slow[-1][0].read(), 20)) == 200
        for _, writer in slow:
            writer.close()


@pytest.mark.asyncio
async def test_a_connection_that_is_used_slowly_but_well_lives_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async with impatient(monkeypatch, HEAD_TIMEOUT_S=0.3) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(4):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200 OK" in await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 20)
            await asyncio.sleep(0.2)
        writer.close()


async def write_for(writer: asyncio.StreamWriter, seconds: float) -> None:
    """Write now and then, for so long."""
    for _ in range(int(seconds / 0.1)):
        await asyncio.sleep(0.1)
        writer.write(b"x")
        await writer.drain()


@pytest.mark.asyncio
async def test_who_takes_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    async with impatient(monkeypatch, STALL_TIMEOUT_S=0.3) as port:
        _reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1000)
        writer.write(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n")
        # Its small buffer is soon full, and nobody reads from it: that the other end is gone shows when one writes.
        with pytest.raises(ConnectionError):
            await write_for(writer, 20)
        writer.close()
