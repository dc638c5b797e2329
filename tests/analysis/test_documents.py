"""Documents, on the embedded stand-in and, if OCTOLAB_TEST_MONGO_URL is set, on a real server."""

from __future__ import annotations

import math
import os
import resource
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pymongo
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.monitoring import CommandListener, register

from analysis.documents import COMMANDS, DocumentRefusedError, DocumentStore, StoreUnavailableError
from tests.services import MongoServer, free_port

REAL_URL = os.environ.get("OCTOLAB_TEST_MONGO_URL", "")


@pytest.fixture(params=["stand-in", "real"] if REAL_URL else ["stand-in"])
def store(request: pytest.FixtureRequest) -> Iterator[DocumentStore]:
    if request.param == "stand-in":
        store = DocumentStore(request.getfixturevalue("mongo_url"))
        yield store
    else:
        store = DocumentStore(f"{REAL_URL.rstrip('/')}/test_{uuid.uuid4().hex[:12]}")
        yield store
        with pymongo.MongoClient[Any](REAL_URL) as client:
            client.drop_database(store.database.name)
    store.close()


def test_insert_many_tells_which_documents_were_new(store: DocumentStore) -> None:
    assert store.insert_many("events", [{"_id": "b", "n": 1}]) == [True]
    assert store.insert_many("events", [{"_id": k, "n": 2} for k in "abca"]) == [True, False, True, False]
    assert [(d["_id"], d["n"]) for d in store.find("events", sort=[("_id", 1)])] == [("a", 2), ("b", 1), ("c", 2)]
    assert store.insert_many("events", []) == []


def test_one_of_many_claimants_wins(store: DocumentStore) -> None:
    winners: list[str] = []

    def claim(nonce: str) -> None:
        if store.claim("attempts", {"_id": "step/1", "state": "claimed"}, nonce):
            winners.append(nonce)

    threads = [threading.Thread(target=claim, args=(f"n{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [winner] = winners
    assert store.find_ids("attempts", ["step/1"]) == [{"_id": "step/1", "state": "claimed", "nonce": winner}]
    assert store.claim("attempts", {"_id": "step/1", "state": "claimed"}, winner), "a second ask is recognised as own"
    assert not store.claim("attempts", {"_id": "step/1", "state": "withdrawn"}, "other")


def test_update_if_compares_and_sets(store: DocumentStore) -> None:
    store.insert_many("attempts", [{"_id": "a", "state": "claimed", "host": "h1", "ends": {"s": 1.0}}])
    assert not store.update_if("attempts", "a", {"state": "running"}, {"state": "completed"})
    assert not store.update_if("attempts", "b", {}, {"state": "completed"})
    assert store.update_if("attempts", "a", {"state": {"$in": ["claimed", "x"]}, "host": "h1"}, {"state": "running"})
    assert store.update_if("attempts", "a", {"state": "running"}, {"ends": {"t": math.inf}, "touched": True})
    assert store.find_ids("attempts", ["a"]) == [
        {"_id": "a", "state": "running", "host": "h1", "ends": {"t": math.inf}, "touched": True}
    ]


def test_only_one_of_two_updaters_wins(store: DocumentStore) -> None:
    store.insert_many("attempts", [{"_id": "a", "owner": ""}])
    won: list[str] = []

    def take(name: str) -> None:
        if store.update_if("attempts", "a", {"owner": ""}, {"owner": name}):
            won.append(name)

    threads = [threading.Thread(target=take, args=(f"t{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [store.find_ids("attempts", ["a"])[0]["owner"]]


def test_upsert_creates_and_then_sets(store: DocumentStore) -> None:
    store.upsert("hosts", {"_id": "host", "beat": 1, "devices": {"arm": "idle", "pump": "busy"}})
    store.upsert("hosts", {"_id": "host", "beat": 2, "devices": {"arm": "busy"}})
    assert store.find("hosts") == [{"_id": "host", "beat": 2, "devices": {"arm": "busy"}}]


def test_find_filters_sorts_and_limits(store: DocumentStore) -> None:
    store.prepare()
    store.prepare()
    store.insert_many("results", [{"_id": f"r{n:04}", "job_id": f"j{n % 3}", "n": n} for n in range(1_100)])
    assert [d["n"] for d in store.find("results", {"job_id": "j1"}, sort=[("n", -1)], limit=2)] == [1_099, 1_096]
    assert len(store.find("results")) == 1_100, "longer than a batch of the wire protocol"
    assert [d["n"] for d in store.find("results", {"n": {"$gte": 3, "$lt": 5}}, sort=[("n", 1)])] == [3, 4]
    ids = [f"r{n:04}" for n in range(1_099, -1, -1)]
    assert [d["_id"] for d in store.find_ids("results", [*ids, "none", ids[0]])] == ids
    assert store.find_ids("results", []) == []


def test_only_listed_commands_reach_the_server(store: DocumentStore) -> None:
    class Listener(CommandListener):
        names: set[str] = set()

        def started(self, event: Any) -> None:
            self.names.add(event.command_name)

        def succeeded(self, event: Any) -> None: ...

        def failed(self, event: Any) -> None: ...

    listener = Listener()
    register(listener)
    host, port = store.database.client.address or ("", 0)
    watched = DocumentStore(f"mongodb://{host}:{port}/{store.database.name}")
    watched.ping()
    watched.prepare()
    watched.insert_many("c", [{"_id": str(n)} for n in range(300)])
    watched.claim("c", {"_id": "0"}, "nonce")
    watched.update_if("c", "0", {}, {"a": 1})
    watched.upsert("c", {"_id": "x", "a": 1})
    watched.find("c", {"a": 1}, sort=[("_id", 1)])
    watched.find("c")
    watched.close()
    pymongo.monitoring._LISTENERS.command_listeners.remove(listener)
    assert {"ping", "insert", "update", "find", "getMore", "createIndexes"} <= listener.names <= COMMANDS


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
)
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=10)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(names | st.sampled_from(["__float__", "__value__", "__literal__"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def same(a: Any, b: Any) -> bool:
    """Equality that tells True from 1 and 1 from 1.0, and holds for NaN."""
    return repr(a).replace("-0.0", "0.0") == repr(b).replace("-0.0", "0.0")


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=values)
def test_what_is_written_is_read_back(store: DocumentStore, value: Any) -> None:
    _id = uuid.uuid4().hex
    store.insert_many("results", [{"_id": _id, "inserted": value}])
    store.update_if("results", _id, {}, {"updated": value})
    store.upsert("results", {"_id": _id, "upserted": value})
    [document] = store.find_ids("results", [_id])
    assert same(document, {"_id": _id, "inserted": value, "updated": value, "upserted": value})


def test_numbers_of_numpy_and_datetimes(store: DocumentStore) -> None:
    at = datetime(2026, 3, 1, 12, 30, 15, 250_000, tzinfo=UTC)
    store.insert_many(
        "results", [{"_id": "a", "f": np.float32(0.5), "n": np.float64("nan"), "i": np.int64(3), "at": at}]
    )
    [document] = store.find("results")
    assert same(document, {"_id": "a", "f": 0.5, "n": math.nan, "i": 3, "at": document["at"]})
    assert document["at"] == at


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"n": 1}, "_id"),
        ({"_id": 5}, "_id"),
        ({"_id": "a", "b.c": 1}, "name of a field"),
        ({"_id": "a", "$b": 1}, "name of a field"),
        ({"_id": "a", "spectrum": np.zeros(3)}, "HDF5"),
        ({"_id": "a", "n": 2**63}, "cannot be stored"),
        ({"_id": "a", "t": "\ud800"}, "cannot be stored"),
        ({"_id": "a", "o": object()}, "cannot be stored"),
    ],
)
def test_what_cannot_be_stored_is_refused_and_leaves_nothing(
    store: DocumentStore, document: dict[str, Any], reason: str
) -> None:
    with pytest.raises(DocumentRefusedError, match=reason):
        store.insert_many("results", [document])
    assert store.find("results") == []


@pytest.mark.parametrize(
    "filter", [{"a": {"$where": "1"}}, {"$or": []}, {"a": {"$ne": 1}}, {"a": True}, {"a": {"b": 1}}]
)
def test_filters_that_not_every_server_understands_are_refused(store: DocumentStore, filter: dict[str, Any]) -> None:
    with pytest.raises(DocumentRefusedError):
        store.find("results", filter)


def test_a_store_that_is_away_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.documents.SELECTION_TIMEOUT_MS", 100)
    store = DocumentStore(f"mongodb://127.0.0.1:{free_port()}/octolab")
    with pytest.raises(StoreUnavailableError, match="does not answer"):
        store.insert_many("events", [{"_id": "a"}])
    with pytest.raises(StoreUnavailableError):
        store.claim("attempts", {"_id": "a"}, "nonce")
    store.close()


WRITER = """
import sys
from analysis.documents import DocumentStore, StoreUnavailableError
store = DocumentStore(sys.argv[1])
number = int(sys.argv[2])
while True:
    ids = [f"{number + k}" for k in range(3)]
    store.insert_many("events", [{"_id": i, "value": float("nan")} for i in ids])
    store.claim("attempts", {"_id": ids[0]}, "mine")
    print(*ids, flush=True)
    number += 3
"""


def test_acknowledged_documents_survive_kill_9(tmp_path: Path) -> None:
    server = MongoServer(tmp_path)
    server.start()
    try:
        acknowledged: list[str] = []
        for _round in range(2):
            first = len(acknowledged) + 1_000 * _round
            with subprocess.Popen(
                [sys.executable, "-c", WRITER, server.url(), str(first)],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            ) as writer:
                assert writer.stdout is not None
                for _ in range(150):
                    acknowledged += writer.stdout.readline().split()
                server.kill()
                acknowledged += writer.stdout.read().split()
                writer.kill()
            server.start()
        store = DocumentStore(server.url())
        assert len(acknowledged) >= 900
        assert len(store.find_ids("events", acknowledged)) == len(acknowledged)
        assert {d["nonce"] for d in store.find_ids("attempts", acknowledged)} == {"mine"}
        assert len(store.find_ids("attempts", acknowledged)) == len(acknowledged) // 3
        store.close()
    finally:
        server.kill()


def test_a_store_comes_back_after_a_restart_of_its_server(tmp_path: Path) -> None:
    server = MongoServer(tmp_path)
    with server:
        store = DocumentStore(server.url())
        store.insert_many("events", [{"_id": "a"}])
        server.restart()
        assert store.claim("attempts", {"_id": "s/1"}, "nonce"), "a claim rides over a broken connection"
        assert store.find("events") == [{"_id": "a"}]
        store.close()


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        ("analysis.documents, analysis.arrays", {"django", "h5py", "numpy"}),
        ("analysis.routines, analysis.processing, analysis.optimisers", {"django", "h5py", "scipy", "optuna"}),
        (
            "django; django.setup(); import octolab.celery, analysis.urls, notifications.urls",
            {"numpy", "apprise", "scipy"},
        ),
    ],
)
def test_what_is_large_is_loaded_only_where_it_is_used(modules: str, heavy: set[str]) -> None:
    script = f"import sys, {modules}; print(*({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr) == ([], "")


def test_many_updates_at_once_tell_which_of_them_stand(store: DocumentStore) -> None:
    store.insert_many("attempts", [{"_id": f"a{n}", "state": "open" if n % 2 else "closed"} for n in range(6)])
    exact = {"end_s": 123.45678901234567, "touched": True, "peak": math.nan, "steps": [{"s": math.inf}]}
    updates = [(f"a{n}", {"state": {"$in": ["open"]}}, {"state": "done", "n": n, **exact}) for n in range(7)]
    assert store.update_each("attempts", updates) == [False, True, False, True, False, True, False]
    assert [d["state"] for d in store.find("attempts", sort=[("_id", 1)])] == ["closed", "done"] * 3
    [document] = store.find_ids("attempts", ["a1"])
    assert same(document, {"_id": "a1", "state": "done", "n": 1, **exact})
    assert store.update_each("attempts", updates[1:2]) == [False]
    assert store.update_each("attempts", []) == []


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux")
def test_a_store_that_cannot_write_is_away_and_refuses_nothing(tmp_path: Path) -> None:
    with MongoServer(tmp_path) as server:
        store = DocumentStore(server.url())
        assert store.insert_many("events", [{"_id": "a", "n": 1}]) == [True]
        unlimited = resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        writes: list[Callable[[], object]] = [
            lambda: store.insert_many("events", [{"_id": "b", "n": 1}, {"_id": "c", "n": 1}]),
            lambda: store.update_if("events", "a", {}, {"n": 2}),
            lambda: store.update_each("events", [("a", {}, {"n": 2}), ("b", {}, {"n": 2})]),
            lambda: store.upsert("events", {"_id": "d", "n": 2}),
        ]
        for write in writes:
            with pytest.raises(StoreUnavailableError):
                write()
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, unlimited)
        for write in writes:
            write()
        assert {d["_id"]: d["n"] for d in store.find("events")} == {"a": 2, "b": 2, "c": 1, "d": 2}
        store.close()
