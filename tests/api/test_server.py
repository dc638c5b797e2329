"""The real web process under uvicorn: what only shows with sockets, threads and an event loop."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from modules.contract.messages import EVENTS_BELL
from octolab.bench import submit
from scheduler.services.placement import QUESTIONS, reply_key
from tests.services import MongoServer, RedisServer
from tests.web import LARGE, WebServer

NOOP: dict[str, Any] = {"name": "Nothing", "workflow": [{"task": "virtual.noop"}]}


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, mongo_server: MongoServer, redis_server: RedisServer
) -> Iterator[WebServer]:
    """A web process with a virtual lab and three users."""
    directory = tmp_path_factory.mktemp("web")
    web = WebServer(
        directory, mongo_url=mongo_server.url("web"), redis_url=redis_server.url, OCTOLAB_MAX_BODY_BYTES="100000"
    )
    web.prepare()
    with web:
        yield web


@pytest.fixture
def ann(server: WebServer) -> Iterator[httpx.Client]:
    """A client with the token of an ordinary user."""
    headers = {"Authorization": f"Bearer {server.people['ann']['token']}"}
    with httpx.Client(base_url=f"{server.url}/api/v1", headers=headers, timeout=60) as client:
        yield client


def wait_for_subscriber(server: WebServer) -> redis.Redis:
    """Return a client of the server's Redis, once the web process hears the doorbell."""
    client = redis.Redis.from_url(server.environment["OCTOLAB_REDIS_URL"])
    give_up_at = time.monotonic() + 20
    while not dict(client.pubsub_numsub(EVENTS_BELL)).get(EVENTS_BELL.encode()):
        assert time.monotonic() < give_up_at, "the web process does not listen to the doorbell"
        time.sleep(0.02)
    return client


def request_head(client: httpx.Client, line: str) -> str:
    """Return the beginning of a request, for connections that are made by hand."""
    return f"{line} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {client.headers['Authorization']}\r\n"


def test_ready(ann: httpx.Client) -> None:
    assert ann.get("/health").json() == {"status": "ready", "database": True, "modules": True}


def test_an_accepted_job_is_there_at_once(ann: httpx.Client) -> None:
    accepted = ann.post("/jobs", json=NOOP)
    assert accepted.status_code == 202, accepted.text
    assert ann.get(accepted.headers["Location"].removeprefix("/api/v1")).json()["id"] == accepted.json()["id"]


def test_the_prediction_comes_with_the_doorbell(server: WebServer, ann: httpx.Client) -> None:
    """A stand-in for the scheduler answers every new job; one of the next submits must carry its prediction."""
    ann.post("/jobs", json=NOOP)
    bell = wait_for_subscriber(server)
    stop = threading.Event()
    with redis.Redis.from_url(server.environment["OCTOLAB_REDIS_URL"]) as client, client.pubsub() as heard:
        from modules.contract.messages import SCHEDULER_BELL
        from scheduler.services.placement import placement_key

        heard.subscribe(SCHEDULER_BELL)

        def place() -> None:
            while not stop.is_set():
                if heard.get_message(timeout=0.1, ignore_subscribe_messages=True):
                    newest = ann_too.get("/jobs?limit=1").json()["results"][0]["id"]
                    answer = {placement_key(newest): {"start_lab_s": 7.0, "finish_lab_s": 9.0}}
                    bell.publish(EVENTS_BELL, json.dumps(answer))

        with httpx.Client(base_url=ann.base_url, headers=ann.headers, timeout=60) as ann_too:
            scheduler = threading.Thread(target=place)
            scheduler.start()
            try:
                give_up_at = time.monotonic() + 30
                while True:
                    shown = ann.post("/jobs", json=NOOP).json()
                    if shown["predicted_start"] is not None:
                        break
                    assert time.monotonic() < give_up_at, "no answer of the scheduler ever reached a submit"
            finally:
                stop.set()
                scheduler.join()
    assert shown["predicted_start"]["lab_s"] == 7.0
    assert shown["predicted_finish"]["lab_s"] == 9.0


def test_a_refused_wish_is_a_problem_that_says_why(server: WebServer, ann: httpx.Client) -> None:
    from scheduler.services.placement import reply_key

    job = ann.post("/jobs", json=NOOP).json()["id"]
    bell = wait_for_subscriber(server)
    stop = threading.Event()

    def refuse() -> None:
        import sqlite3

        database = sqlite3.connect(server.directory / "octolab.sqlite3", timeout=20)
        while not stop.is_set():
            for (key,) in database.execute("SELECT id FROM scheduler_request WHERE applied_at IS NULL"):
                from uuid import UUID

                bell.publish(EVENTS_BELL, json.dumps({reply_key(UUID(key)): {"refused": "the job is final"}}))
            time.sleep(0.01)
        database.close()

    scheduler = threading.Thread(target=refuse)
    scheduler.start()
    try:
        give_up_at = time.monotonic() + 30
        while (response := ann.patch(f"/jobs/{job}", json={"priority": 2})).status_code != 409:
            assert response.status_code == 202
            assert time.monotonic() < give_up_at
    finally:
        stop.set()
        scheduler.join()
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["detail"] == "the job is final"


def test_a_long_poll_ends_with_the_events_it_waited_for(server: WebServer, ann: httpx.Client) -> None:
    import sqlite3

    last, seq = ann.get("/events").json()["last"], 1000
    bell = wait_for_subscriber(server)
    answers: list[dict[str, Any]] = []
    waiter = threading.Thread(target=lambda: answers.append(ann.get(f"/events?since={last}&wait=30").json()))
    waiter.start()
    job = server.people["ann"]["job"].replace("-", "")
    with sqlite3.connect(server.directory / "octolab.sqlite3", timeout=20) as database:
        database.execute(
            "INSERT INTO scheduler_event (seq, at, lab_s, kind, subject, job_id, project_id, state_from, state_to,"
            " actor, reason, data) SELECT ?, '2026-01-01 00:00:00', 1, 'job', 'x', id, project_id, '', 'running',"
            " '', '', '{}' FROM scheduler_job WHERE id = ?",
            (seq, job),
        )
    database.close()
    bell.publish(EVENTS_BELL, "")
    waiter.join(timeout=25)
    assert not waiter.is_alive()
    assert [event["seq"] for event in answers[0]["results"]] == [seq]


def test_waiting_clients_hold_no_thread(server: WebServer, ann: httpx.Client) -> None:
    last = ann.get("/events").json()["last"]
    head = request_head(ann, f"GET /api/v1/events?since={last + 1000}&wait=30") + "\r\n"
    waiting = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(30)]
    try:
        for connection in waiting:
            connection.sendall(head.encode())
        for _ in range(10):
            assert ann.get("/me", timeout=20).status_code == 200
    finally:
        for connection in waiting:
            connection.close()


def test_threads_and_connections_do_not_grow_with_requests(server: WebServer, ann: httpx.Client) -> None:
    body = json.dumps(NOOP).encode()

    def load() -> submit.Figures:
        tokens = [person["token"] for person in server.people.values()]
        return asyncio.run(submit.measure(server.url, tokens, body, jobs=60, clients=8))

    load()
    before = open_files_and_threads(server.pid)
    figures = load()
    assert figures.statuses == {202: 60}
    assert open_files_and_threads(server.pid) == before


def open_files_and_threads(pid: int) -> tuple[int, int]:
    """Return how often the process has the database open, and its threads."""
    return opened(pid, "octolab.sqlite3"), len(list(Path(f"/proc/{pid}/task").iterdir()))


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_is_not_read_beyond_the_limit(server: WebServer, ann: httpx.Client, announced: bool) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(4000):
            yield b" " * 1000

    content = b" " * 4_000_000 if announced else endless()
    headers = {"Content-Type": "application/json", "Connection": "close"}
    try:
        response = ann.post("/jobs", content=content, headers=headers)
    except (httpx.WriteError, httpx.RemoteProtocolError, httpx.ReadError):
        pass  # the server has answered and closed while the client was still sending
    else:
        assert response.status_code == 413
        assert response.headers["Content-Type"] == "application/problem+json"
    assert ann.get("/me").status_code == 200


def test_a_client_that_never_ends_its_body_holds_nobody_up(server: WebServer, ann: httpx.Client) -> None:
    head = request_head(ann, "POST /api/v1/jobs") + "Content-Length: 500\r\n\r\n{"
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
    try:
        for connection in slow:
            connection.sendall(head.encode())
        assert ann.post("/jobs", json=NOOP).status_code == 202
    finally:
        for connection in slow:
            connection.close()


def test_a_file_is_streamed_whole_and_a_client_that_leaves_ends_it(server: WebServer, ann: httpx.Client) -> None:
    url = f"{server.url}/static/large.bin"
    assert httpx.get(url, timeout=60).content == LARGE
    assert httpx.get(url, timeout=60, headers={"Range": "bytes=1000-1999"}).content == LARGE[1000:2000]
    for _ in range(5):
        with httpx.stream("GET", url, timeout=60) as response:
            next(response.iter_raw(1000))
    assert ann.get("/me").status_code == 200
    give_up_at = time.monotonic() + 20
    while opened(server.pid, "large.bin"):
        assert time.monotonic() < give_up_at, "a file stays open after its client has gone"
        time.sleep(0.05)


def opened(pid: int, name: str) -> int:
    """Return how often the process has a file open."""
    count = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            count += os.readlink(link).endswith(f"/{name}")
        except FileNotFoundError:
            continue
    return count


def test_a_path_that_looks_like_a_host_leads_nowhere(server: WebServer, ann: httpx.Client) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"GET //evil.example HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 404")
    assert b"\nlocation:" not in answer.lower()


def without_room(minutes: int) -> dict[str, Any]:
    """Return a job that only a proof can refuse: two tasks on one device must follow a third at once."""
    window = f"{minutes} min"

    def occupy(device: int, time: str, **more: Any) -> dict[str, Any]:
        return {"task": "virtual.occupy", "with": {"time": time, "devices": [f"virtual_{device}"]}, **more}

    workflow = [
        occupy(1, "1 min", id="make"),
        occupy(2, "100 min", id="one", needs=["make"], within=window),
        occupy(2, "100 min", id="two", needs=["make"], within=window),
    ]
    return {"name": "No room", "workflow": workflow}


def test_no_thread_waits_for_a_proof(server: WebServer, ann: httpx.Client) -> None:
    """The test plays the scheduler: it answers when more have asked than the server has threads."""
    scheduler = redis.Redis.from_url(server.environment["OCTOLAB_REDIS_URL"])
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(ann.post, "/jobs", json=without_room(minutes)) for minutes in (1, 2, 3)]
        asked = []
        while len(asked) < len(answers):
            found: Any = scheduler.blpop([QUESTIONS], timeout=20)
            assert found, f"only {len(asked)} requests could wait at the same time"
            question = json.loads(found[1])
            if question.get("ask") == "feasible":
                asked.append(question)
        for question in asked:
            scheduler.rpush(reply_key(question["id"]), json.dumps({"infeasible": True}))
        assert {answer.result().status_code for answer in answers} <= {202, 422}
        last = pool.submit(ann.post, "/jobs", json=without_room(4))
        question = json.loads(scheduler.blpop([QUESTIONS], timeout=20)[1])  # type: ignore[index]
        scheduler.rpush(reply_key(question["id"]), json.dumps({"infeasible": True}))
        assert last.result().status_code == 422
        assert ann.post("/jobs", json=without_room(4)).status_code == 422, "what is proven is known"
