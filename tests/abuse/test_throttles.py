"""How much anybody may ask for: per user, per address, in all web processes together, over websockets too."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from octolab.rates import SHARE_EVERY_S, WINDOW_S, Rates
from octolab.throttle import address, credential_of
from tests.services import MongoServer, RedisServer
from tests.web import WebServer

PER_USER, ANONYMOUS, SOCKETS_PER_USER, SOCKETS_PER_ADDRESS = 60, 20, 3, 5
SLACK = 2
"""Requests that may be allowed beyond a limit because a new minute begins during a test."""
_ADDRESSES = (f"198.51.100.{number}" for number in count(1))


@pytest.fixture
def where() -> str:
    """An address from which nobody has come yet."""
    return next(_ADDRESSES)


def start(directory_of: pytest.TempPathFactory, mongo: MongoServer, redis_url: str, **limits: int) -> WebServer:
    """Return a web process with narrow limits, prepared and not started."""
    environment = {f"OCTOLAB_{name}": str(limit) for name, limit in limits.items()}
    directory = directory_of.mktemp("web")
    web = WebServer(directory, mongo_url=mongo.url(directory.name), redis_url=redis_url, **environment)
    web.prepare("--full")
    return web


NARROW = {"REQUESTS_PER_USER": PER_USER, "REQUESTS_ANONYMOUS": ANONYMOUS}


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, mongo_server: MongoServer, redis_server: RedisServer
) -> Iterator[WebServer]:
    """A web process to which few requests may come."""
    with start(tmp_path_factory, mongo_server, redis_server.url, **NARROW) as web:
        assert isinstance(web, WebServer)
        yield web


@pytest.fixture(scope="module")
def small(
    tmp_path_factory: pytest.TempPathFactory, mongo_server: MongoServer, redis_server: RedisServer
) -> Iterator[WebServer]:
    """A web process to which few websockets may be open."""
    limits = {"SOCKETS_PER_USER": SOCKETS_PER_USER, "SOCKETS_PER_ADDRESS": SOCKETS_PER_ADDRESS}
    limits["REQUESTS_ANONYMOUS"] = ANONYMOUS
    with start(tmp_path_factory, mongo_server, redis_server.url, **limits) as web:
        assert isinstance(web, WebServer)
        yield web


def client(server: WebServer, name: str, where: str) -> httpx.Client:
    """Return a client that comes from an address, through the proxy on this machine; nobody's for an empty name."""
    headers = {"X-Forwarded-For": where}
    if name:
        headers["Authorization"] = f"Bearer {server.people[name]['token']}"
    return httpx.Client(base_url=server.url, headers=headers, timeout=60)


def statuses(one: httpx.Client, path: str, number: int) -> Counter[int]:
    return Counter(one.get(path).status_code for _ in range(number))


def test_a_user_who_asks_too_often_is_told_when_to_come_again(server: WebServer, where: str) -> None:
    with client(server, "ann", where) as ann, client(server, "ben", where) as ben:
        seen = statuses(ann, "/api/v1/me", PER_USER + 10)
        assert PER_USER <= seen[200] <= PER_USER + 1 + SLACK, "the first one only shows whose the token is"
        assert seen[200] + seen[429] == PER_USER + 10
        refused = ann.post("/api/v1/jobs", json={"name": "x", "workflow": [{"task": "virtual.noop"}]})
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["Retry-After"]) <= 2 * WINDOW_S
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert f"at most {PER_USER} a minute" in refused.json()["detail"]
        assert "Retry-After" in refused.json()["detail"]
        assert ben.get("/api/v1/me").status_code == 200, "who shares the address does not suffer"


def test_another_address_or_token_does_not_help_a_user(server: WebServer, where: str) -> None:
    with client(server, "ada", where) as ada, client(server, "ada", next(_ADDRESSES)) as elsewhere:
        wish = {"username": "ada", "password": "a long and quiet afternoon"}
        token = ada.post("/api/v1/tokens", json=wish).json()["token"]
        statuses(ada, "/api/v1/me", PER_USER + 10)
        assert elsewhere.get("/api/v1/me").status_code == 429
        elsewhere.headers["Authorization"] = f"Bearer {token}"
        assert statuses(elsewhere, "/api/v1/me", 3)[429] >= 2


def test_who_is_nobody_is_counted_by_address(server: WebServer, where: str) -> None:
    with client(server, "", where) as nobody, client(server, "", next(_ADDRESSES)) as somebody_else:
        seen = statuses(nobody, "/api/v1/health/live", ANONYMOUS + 10)
        assert ANONYMOUS <= seen[200] <= ANONYMOUS + SLACK
        assert seen[200] + seen[429] == ANONYMOUS + 10
        page = nobody.get("/login")
        assert (page.status_code, page.headers["Content-Type"]) == (429, "text/html; charset=utf-8")
        assert "Wait a minute" in page.text
        assert "default-src 'self'" in page.headers["Content-Security-Policy"]
        assert nobody.get("/static/octolab/octolab.css").status_code == 429
        assert somebody_else.get("/login").status_code == 200


def test_a_false_credential_is_nobody_s(server: WebServer, where: str) -> None:
    with client(server, "", where) as guesser:
        seen: Counter[int] = Counter()
        for number in range(ANONYMOUS + 10):
            seen[guesser.get("/api/v1/me", headers={"Authorization": f"Bearer octolab_{number}"}).status_code] += 1
        assert ANONYMOUS <= seen[401] <= ANONYMOUS + SLACK
        assert seen[401] + seen[429] == ANONYMOUS + 10
        assert guesser.get("/api/v1/me", headers={"Cookie": "sessionid=guessed"}).status_code == 429


def test_a_forged_header_does_not_make_another_address(server: WebServer, where: str) -> None:
    with client(server, "", where) as nobody:
        statuses(nobody, "/api/v1/health/live", ANONYMOUS + 10)
        for forged in (f"192.0.2.1, {where}", f"127.0.0.1, {where}", f"evil, {where}"):
            assert nobody.get("/api/v1/health/live", headers={"X-Forwarded-For": forged}).status_code == 429
        for header in ("Forwarded", "X-Real-IP", "Client-IP", "True-Client-IP", "CF-Connecting-IP"):
            assert nobody.get("/api/v1/health/live", headers={header: "192.0.2.1"}).status_code == 429


def test_the_emergency_stop_is_never_refused_to_who_is_known(server: WebServer, where: str) -> None:
    with client(server, "olga", where) as olga, client(server, "", where) as nobody:
        statuses(olga, "/api/v1/me", PER_USER + 10)
        statuses(nobody, "/api/v1/health/live", ANONYMOUS + 10)
        assert olga.get("/api/v1/me").status_code == 429
        assert olga.post("/api/v1/estop", json={"reason": "smoke"}).status_code in (200, 202)
        assert nobody.post("/api/v1/estop", json={"reason": "smoke"}).status_code == 401


def socket_of(server: WebServer, name: str, where: str) -> ClientConnection:
    headers = {"X-Forwarded-For": where}
    if name:
        headers["Authorization"] = f"Bearer {server.people[name]['token']}"
    return connect(f"ws://127.0.0.1:{server.port}/ws/events", additional_headers=headers, open_timeout=20, proxy=None)


def test_a_user_has_so_many_websockets_and_no_more(small: WebServer, where: str) -> None:
    with ExitStack() as stack:
        kept = [stack.enter_context(socket_of(small, "ben", where)) for _ in range(SOCKETS_PER_USER)]
        for one in kept:
            assert json.loads(one.recv(timeout=20))["type"] == "hello"
        with socket_of(small, "ben", next(_ADDRESSES)) as too_many, pytest.raises(ConnectionClosed) as closed:
            too_many.recv(timeout=20)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4429
        assert "Close some" in closed.value.rcvd.reason
        kept[0].close()
        with socket_of(small, "ben", where) as again:
            assert json.loads(again.recv(timeout=20))["type"] == "hello"


def test_an_address_has_so_many_websockets_and_no_more(small: WebServer, where: str) -> None:
    with ExitStack() as stack:
        names = ["ben", "ada", "ben", "ada", "olga"]
        kept = [stack.enter_context(socket_of(small, name, where)) for name in names]
        assert len(kept) == SOCKETS_PER_ADDRESS
        with pytest.raises(InvalidStatus) as refused:
            socket_of(small, "olga", where)
        assert refused.value.response.status_code == 429
        assert int(refused.value.response.headers["Retry-After"]) > 0
        with socket_of(small, "olga", next(_ADDRESSES)) as elsewhere:
            assert json.loads(elsewhere.recv(timeout=20))["type"] == "hello"


def test_websockets_count_as_requests(server: WebServer, where: str) -> None:
    with client(server, "", where) as nobody:
        statuses(nobody, "/api/v1/health/live", ANONYMOUS + 10)
    with pytest.raises(InvalidStatus) as refused:
        socket_of(server, "", where)
    assert refused.value.response.status_code == 429


def test_web_processes_count_together(server: WebServer, small: WebServer, where: str) -> None:
    """Each is asked less often than it allows by itself, and refuses all the same once it has heard of the other."""
    with client(server, "", where) as here, client(small, "", where) as there:
        for one in (here, there):
            assert statuses(one, "/api/v1/health/live", ANONYMOUS // 2) == {200: ANONYMOUS // 2}
        for one in (there, here):
            for _ in range(ANONYMOUS // 2 - 1):
                time.sleep(SHARE_EVERY_S)
                if one.get("/api/v1/health/live").status_code == 429:
                    break
            else:
                pytest.fail("it has not heard of the other's requests")


def test_with_redis_away_everybody_is_served_and_each_process_counts_alone(
    tmp_path_factory: pytest.TempPathFactory, mongo_server: MongoServer, where: str
) -> None:
    with RedisServer(tmp_path_factory.mktemp("redis")) as redis:
        assert isinstance(redis, RedisServer)
        with start(tmp_path_factory, mongo_server, redis.url, **NARROW) as web:
            assert isinstance(web, WebServer)
            redis.kill()
            with client(web, "ann", where) as ann:
                assert ann.get("/api/v1/me").status_code == 200
                time.sleep(SHARE_EVERY_S * 2)
                seen = statuses(ann, "/api/v1/me", PER_USER + 10)
                assert PER_USER - 1 <= seen[200] <= PER_USER + 1 + SLACK
                assert seen[429] > 0


# --- counting


def test_no_minute_has_twice_the_limit_and_waiting_as_told_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even a minute that begins in the middle of a window; in the long run the limit holds exactly."""
    now_s = 1_000_000.0
    monkeypatch.setattr(time, "time", lambda: now_s)
    rates, taken = Rates("redis://127.0.0.1:1/0"), []
    while now_s < 1_000_600:
        wait_s = rates.take("x", 100)
        if wait_s is None:
            taken.append(now_s)
            now_s += 0.05
        else:
            assert rates.take("x", 100) == wait_s, "a refusal does not count"
            now_s += wait_s
            assert rates.take("x", 100) is None, "who waits as told comes in"
            taken.append(now_s)
    assert len(taken) > 500
    for first in taken:
        assert sum(first <= moment < first + WINDOW_S for moment in taken) < 200
    assert len(taken) <= 100 * 11


def test_no_limit_is_no_limit() -> None:
    rates = Rates("redis://127.0.0.1:1/0")
    assert all(rates.take("x", 0) is None for _ in range(1000))


def test_memory_for_counts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from octolab import rates as module

    monkeypatch.setattr(module, "_MOST_KEYS", 100)
    rates = Rates("redis://127.0.0.1:1/0")
    for number in range(1000):
        rates.take(f"address:{number}", 10)
    assert len(rates._counts) <= 100


@pytest.mark.parametrize(
    ("client_s", "shown"),
    [
        (("192.0.2.7", 1), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 1), "2001:db8:1:2::"),
        (("2001:db8:1:2::9", 1), "2001:db8:1:2::"),
        (("::ffff:192.0.2.7", 1), "192.0.2.7"),
        (None, "local"),
        (("unix:", 0), "local"),
    ],
)
def test_an_ipv6_network_is_one_address(client_s: tuple[str, int] | None, shown: str) -> None:
    assert address({"client": client_s}) == shown


def test_what_is_remembered_of_a_credential_is_not_the_credential() -> None:
    token = credential_of({"headers": [(b"authorization", b"Bearer octolab_secret")]})
    session = credential_of({"headers": [(b"cookie", b"a=b; sessionid=secret; c=d")]})
    assert token
    assert session
    assert token != session
    assert b"secret" not in token + session
    assert credential_of({"headers": [(b"cookie", b"csrftoken=x")]}) is None
