"""The real web process as its attackers meet it: started as ``deploy/up`` does, with four people and their work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.api.conftest import world  # noqa: F401
from tests.jobs.conftest import open_lab  # noqa: F401
from tests.prepare_web import PASSWORD
from tests.services import MongoServer, RedisServer
from tests.web import WebServer

As = Callable[[str], httpx.Client]


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, mongo_server: MongoServer, redis_server: RedisServer
) -> Iterator[WebServer]:
    """A web process with ann and ben, the operator olga, and the admin ada."""
    directory = tmp_path_factory.mktemp("web")
    web = WebServer(directory, mongo_url=mongo_server.url(directory.name), redis_url=redis_server.url)
    web.prepare("--full")
    with web:
        yield web


@pytest.fixture(scope="module")
def by_token(server: WebServer) -> Iterator[As]:
    """Return a client of the API that sends somebody's token."""
    made: dict[str, httpx.Client] = {}

    def client(name: str) -> httpx.Client:
        if name not in made:
            headers = {"Authorization": f"Bearer {server.people[name]['token']}"} if name in server.people else {}
            made[name] = httpx.Client(base_url=f"{server.url}/api/v1", headers=headers, timeout=60)
        return made[name]

    yield client
    for one in made.values():
        one.close()


@pytest.fixture(scope="module")
def at_browser(server: WebServer) -> Iterator[As]:
    """Return a client that has signed in at the dashboard as a browser does."""
    made: dict[str, httpx.Client] = {}

    def client(name: str) -> httpx.Client:
        if name not in made:
            made[name] = httpx.Client(base_url=server.url, timeout=60)
            sign_in(made[name], name)
        return made[name]

    yield client
    for one in made.values():
        one.close()


def sign_in(client: httpx.Client, name: str, password: str = PASSWORD, **form: Any) -> httpx.Response:
    """Send the form of the page where one signs in."""
    client.get("/login")
    token = client.cookies["csrftoken"]
    return client.post("/login", data={"username": name, "password": password, "csrfmiddlewaretoken": token, **form})
