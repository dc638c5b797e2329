"""The emergency stop through the real web process to a real host, with every part away that it may not need.

There is no scheduler in these tests at all: the emergency stop works without one.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from modules.contract.messages import CONTROL_CHANNEL
from tests.host.harness import HostBench, wait_for
from tests.services import MongoServer, RedisServer
from tests.web import ROOT, WebServer

DEVICES = ["arm", "second_arm"]


@dataclass
class Lab:
    """A web process and a host with stores of their own."""

    web: WebServer
    host: HostBench
    mongo: MongoServer
    redis: RedisServer

    def client(self, name: str) -> httpx.Client:
        """Return a client with somebody's token: ``ann`` is an ordinary user, ``olga`` operates the lab."""
        headers = {"Authorization": f"Bearer {self.web.people[name]['token']}"}
        return httpx.Client(base_url=f"{self.web.url}/api/v1", headers=headers, timeout=60)

    def trip(self, **wish: Any) -> dict[str, Any]:
        with self.client("ann") as ann:
            answer = ann.post("/estop", json=wish)
        assert answer.status_code == 200, answer.text
        return answer.json()  # type: ignore[no-any-return]

    def rearm(self, scope: str = "lab") -> httpx.Response:
        with self.client("olga") as olga:
            return olga.post("/estop/rearm", json={"scope": scope, "note": "looked at everything"})


@pytest.fixture(scope="module")
def shared_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("estop")
    mongo, redis = MongoServer(folder / "mongo"), RedisServer(folder / "redis")
    with mongo, redis:
        host = HostBench(folder / "host", mongo.url(), redis.url)
        web = WebServer(folder / "web", mongo_url=mongo.url(), redis_url=redis.url, OCTOLAB_LAB=str(host.lab))
        web.prepare()
        try:
            host.start()
            with web:
                yield Lab(web, host, mongo, redis)
        finally:
            host.close()


@pytest.fixture
def lab(shared_lab: Lab) -> Iterator[Lab]:
    """The lab, re-armed afterwards, with no commands in its log."""
    shared_lab.host.commands_file.write_text("")
    yield shared_lab
    for scope in ("lab", "bench"):
        shared_lab.rearm(scope)
    wait_for(lambda: shared_lab.host.device_state("arm") == "idle")
    wait_for(lambda: dict(shared_lab.host.redis.pubsub_numsub(CONTROL_CHANNEL))[CONTROL_CHANNEL.encode()])


def confirmed(answer: dict[str, Any]) -> dict[str, bool]:
    return {row["device"]: row["confirmed"] for row in answer["devices"]}


def test_any_member_trips_it_and_the_answer_tells_device_by_device(lab: Lab) -> None:
    lab.host.commands_file.with_name("second_arm.unsafe").touch()
    answer = lab.trip(reason="smoke")
    lab.host.commands_file.with_name("second_arm.unsafe").unlink()
    assert confirmed(answer) == {"arm": True, "second_arm": False}
    assert (answer["tripped"], answer["all_confirmed"], answer["stored"], answer["hosts_heard"]) == (
        True,
        False,
        True,
        1,
    )
    assert (answer["actor"], answer["reason"]) == ("ann", "smoke")
    assert all("SAFE" in lab.host.commands(device) for device in DEVICES)
    with lab.client("ben") as ben:
        (seen,) = [row for row in ben.get("/estop").json()["scopes"] if row["scope"] == "lab"]
        assert confirmed(seen) == {"arm": True, "second_arm": False}
        refused = ben.post("/estop/rearm", json={"note": "fine"})
        assert refused.status_code == 403, refused.text
    with lab.client("olga") as olga:
        assert olga.post("/estop/rearm", json={"note": " "}).status_code == 422
        assert olga.post("/estop", json={"scope": "nonsense"}).status_code == 422
        assert lab.rearm().json()["tripped"] is False
        assert olga.get("/estop").json()["tripped"] is False
        assert lab.rearm().status_code == 409


def test_a_module_is_stopped_by_itself(lab: Lab) -> None:
    assert confirmed(lab.trip(scope="bench")) == {"arm": True, "second_arm": True}
    record = lab.host.run(lab.host.order("moves", {"count": 1}))
    assert (record["state"], record["touched"], record["emergency"]) == ("failed", False, True)
    lab.rearm("bench")
    wait_for(lambda: lab.host.run(lab.host.order("moves", {"count": 1}))["state"] == "completed")


def test_tripping_twice_raises_the_serial_and_is_confirmed_again(lab: Lab) -> None:
    first, second = lab.trip(), lab.trip()
    assert second["serial"] > first["serial"]
    assert second["all_confirmed"]
    assert len(lab.host.store.find("latch_log", {"scope": "lab", "serial": {"$gte": first["serial"]}})) == 2


def test_it_does_not_wait_for_a_driver_call_that_blocks(lab: Lab) -> None:
    attempt_id = lab.host.send(lab.host.order("moves", {"count": 1, "real_s": 3600}))
    wait_for(lab.host.commands)
    assert lab.trip()["all_confirmed"]
    record = lab.host.closed(attempt_id)
    assert (record["state"], record["touched"], record["emergency"]) == ("interrupted", True, True)


def test_it_does_not_wait_for_a_database_that_is_locked(lab: Lab) -> None:
    """All threads of the web process wait for the lock with other people's writes, and the session is new."""
    job = {"name": "Nothing", "workflow": [{"task": "bench.noop"}]}
    lock = sqlite3.connect(lab.web.directory / "octolab.sqlite3", isolation_level=None)
    with closing(lock), lab.client("olga") as olga, ThreadPoolExecutor(6) as pool:
        lock.execute("BEGIN EXCLUSIVE")
        try:
            writes = [pool.submit(olga.post, "/jobs", json=job) for _ in range(6)]
            assert lab.trip()["all_confirmed"]
            assert not any(write.done() for write in writes)
        finally:
            lock.execute("ROLLBACK")
        assert {write.result().status_code for write in writes} == {202}


def test_without_redis_hosts_find_it_in_the_document_store(lab: Lab) -> None:
    lab.redis.kill()
    try:
        answer = lab.trip()
        assert (answer["hosts_heard"], answer["stored"]) == (0, True)
        assert confirmed(answer) == {"arm": True, "second_arm": True}
    finally:
        lab.redis.start()


def test_without_the_document_store_hosts_are_reached_but_nothing_is_claimed_to_be_safe(lab: Lab) -> None:
    lab.mongo.kill()
    try:
        answer = lab.trip(reason="no store")
        assert (answer["hosts_heard"], answer["stored"]) == (1, False)
        assert confirmed(answer) == {"arm": False, "second_arm": False}
        wait_for(lambda: all("SAFE" in lab.host.commands(device) for device in DEVICES))
        with lab.client("ann") as ann:
            assert ann.get("/estop").status_code == 503
    finally:
        lab.mongo.start()
    with lab.client("ann") as ann:
        wait_for(lambda: ann.get("/estop").status_code == 200)

        def seen() -> bool:
            rows = [row for row in ann.get("/estop").json()["scopes"] if row["tripped"]]
            return bool(rows) and rows[0]["reason"] == "no store" and rows[0]["all_confirmed"]

        wait_for(seen)


@pytest.mark.parametrize("first", ["redis", "mongo"])
def test_without_both_nothing_is_claimed_and_whatever_is_back_first_carries_it(lab: Lab, first: str) -> None:
    stores: dict[str, MongoServer | RedisServer] = {"redis": lab.redis, "mongo": lab.mongo}
    for server in stores.values():
        server.kill()
    try:
        answer = lab.trip(reason=f"both away, {first}")
        assert (answer["hosts_heard"], answer["stored"]) == (0, False)
        assert confirmed(answer) == {"arm": False, "second_arm": False}
        assert all("NOT told" in row["text"] for row in answer["devices"])
        assert lab.host.commands() == []
        stores.pop(first).start()
        wait_for(lambda: all("SAFE" in lab.host.commands(device) for device in DEVICES))
    finally:
        for server in stores.values():
            server.start()
    with lab.client("ann") as ann:

        def seen() -> bool:
            rows = ann.get("/estop").json().get("scopes", [])
            return any(row["reason"] == f"both away, {first}" and row["all_confirmed"] for row in rows)

        wait_for(seen)


def test_without_the_web_process_the_server_has_a_command(lab: Lab) -> None:
    """And the database is locked."""
    lock = sqlite3.connect(lab.web.directory / "octolab.sqlite3", isolation_level=None)
    lab.web.kill()
    try:
        with closing(lock):
            lock.execute("BEGIN EXCLUSIVE")
            done = subprocess.run(
                [sys.executable, "manage.py", "estop", "--reason", "no web"],
                cwd=ROOT, env={**os.environ, **lab.web.environment}, capture_output=True, text=True, check=False,
            )  # fmt: skip
            lock.execute("ROLLBACK")
    finally:
        lab.web.start()
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{device}: confirmed safe " for device in DEVICES]
    (latch,) = lab.host.store.find_ids("latches", ["lab"])
    assert latch["tripped"]
    assert latch["actor"].endswith(" at the server")


def test_a_host_that_is_dead_confirms_nothing(lab: Lab, tmp_path: Path) -> None:
    lab.host.kill()
    try:
        answer = lab.trip()
        assert confirmed(answer) == {"arm": False, "second_arm": False}
        assert all("host" in row["text"] for row in answer["devices"])
    finally:
        lab.host.start()
    # It reads the latch before it serves: what was on its way must not move.
    record = lab.host.run(lab.host.order("moves", {"count": 1}))
    assert (record["state"], record["touched"]) == ("failed", False)
