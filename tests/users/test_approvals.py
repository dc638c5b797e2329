"""Approving as an operator does it: with the command, against the real web process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.services import MongoServer, RedisServer
from tests.web import ROOT, WebServer

WORK: dict[str, Any] = {"name": "Work", "workflow": [{"task": "virtual.noop"}]}


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, mongo_server: MongoServer, redis_server: RedisServer
) -> Iterator[WebServer]:
    """A web process where ann's own project has everything approved that her virtual lab offers."""
    directory = tmp_path_factory.mktemp("web")
    web = WebServer(directory, mongo_url=mongo_server.url(directory.name), redis_url=redis_server.url)
    web.prepare("--full")
    with web:
        rules = {"approve": ["virtual"]}
        assert ask(web, "ada", "PUT", "/projects/ann/rules", json=rules).json()["approve"] == ["virtual"]
        yield web


def ask(server: WebServer, name: str, method: str, path: str, **more: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {server.people[name]['token']}"}
    return httpx.request(method, f"{server.url}/api/v1{path}", headers=headers, timeout=60, **more)


def octolab(server: WebServer, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in somebody's name."""
    environment = {"OCTOLAB_URL": server.url, "OCTOLAB_TOKEN": server.people[name]["token"], "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [sys.executable, "-m", "octolab.cli", *arguments],
        cwd=ROOT, env={**environment, "HOME": str(server.directory)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_an_operator_approves_and_rejects_at_the_command_line(server: WebServer) -> None:
    first, second = (ask(server, "ann", "POST", "/jobs", json=WORK).json() for _ in range(2))
    assert first["state"] == second["state"] == "awaiting_approval"
    listed = json.loads(octolab(server, "olga", "approvals", "--json").stdout)
    assert [row["id"] for row in listed] == [first["id"], second["id"]]
    assert first["id"] in octolab(server, "olga", "approvals").stdout
    assert "Approved" in octolab(server, "olga", "approve", first["id"], "--note", "go").stdout
    assert "Rejected" in octolab(server, "olga", "reject", second["id"], "--note", "too hot").stdout
    log = ask(server, "ada", "GET", "/audit?verb=job&limit=2").json()
    assert [(row["verb"], row["subject"], row["actor"]) for row in log] == [
        ("job.reject", second["id"], "olga"),
        ("job.approve", first["id"], "olga"),
    ]
    assert log[0]["credential"].startswith("token ")
    for name in ("ann", "ben", "ada"):
        refused = octolab(server, name, "approve", first["id"])
        assert refused.returncode == 1
        assert "Only a lab operator" in refused.stderr
