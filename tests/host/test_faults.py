"""What a crash, a full stop and absent servers do: nothing is lost, nothing moves twice."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.arrays import raw_path
from modules.contract.messages import Attempt
from modules.host.standstill import STANDSTILL_S
from tests.services import MongoServer, RedisServer

from .harness import ROOT, HostBench, bench_of, step, wait_for


@pytest.fixture
def own_mongo(tmp_path: Path) -> Iterator[MongoServer]:
    """A store that the test may kill."""
    server = MongoServer(tmp_path / "mongo")
    with server:
        yield server


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A broker that the test may kill."""
    server = RedisServer(tmp_path / "redis")
    with server:
        yield server


def test_a_killed_host_closes_its_step_as_interrupted_when_it_is_back(own_host: HostBench) -> None:
    order = own_host.order("moves", {"count": 1000, "real_s": 0.1})
    own_host.send(order)
    wait_for(lambda: len(own_host.commands()) >= 3)
    wait_for(lambda: own_host.attempt(order.attempt_id)["state"] == "running")  # type: ignore[index]
    old = own_host.host_record()["incarnation"]
    own_host.kill()
    at_death = own_host.commands()
    own_host.start()
    record = own_host.closed(order.attempt_id)
    assert (record["state"], record["touched"]) == ("interrupted", True)
    # the last intent on disk is the last command sent, or one that was about to be
    number = int(record["last_command"].removeprefix("arm: MOVE "))
    assert number in (len(at_death) - 1, len(at_death))
    assert record["first_command_lab_s"] is not None
    assert own_host.host_record()["incarnation"] != old
    assert old in own_host.host_record()["previous"]
    stops = own_host.store.find("run_stops", {"run_start": order.members[0].run_uid})
    assert [stop["exit_status"] for stop in stops] == ["fail"]
    own_host.send(order)
    assert own_host.run(own_host.order("noop"))["state"] == "completed"
    assert own_host.commands() == at_death


def test_a_killed_host_that_had_sent_no_command_says_so(own_host: HostBench) -> None:
    order = own_host.order("sleeps", {"real_s": 3600, "move": False})
    own_host.send(order)
    wait_for(lambda: (own_host.attempt(order.attempt_id) or {}).get("state") == "running")
    own_host.kill()
    own_host.start()
    record = own_host.closed(order.attempt_id)
    assert (record["state"], record["touched"], record["last_command"]) == ("interrupted", False, "")


def test_a_file_that_was_never_finished_goes_when_its_attempt_is_closed(own_host: HostBench) -> None:
    order = own_host.order("sleeps", {"real_s": 3600})
    own_host.send(order)
    wait_for(own_host.commands)
    own_host.kill()
    raw = raw_path(order.job_id, order.attempt_id, order.granted_at)
    mine = own_host.data_root / f"{raw}.part"
    others = mine.with_name("of-another-host-1.nxs.part")
    mine.parent.mkdir(parents=True)
    for file in (mine, others):
        file.write_bytes(b"half a fi")
    own_host.start()
    record = own_host.closed(order.attempt_id)
    assert (record["state"], record["outcomes"]) == ("interrupted", [])
    assert [mine.exists(), others.exists()] == [False, True]
    assert own_host.store.find("results") == []


def test_what_reached_the_store_but_not_the_full_disk_is_not_closed_again(own_host: HostBench) -> None:
    """Chaos, seed 103: the journal's end was lost, and its attempt got a second stop document."""
    order = own_host.order("moves", {"count": 2})
    assert own_host.run(order)["state"] == "completed"
    own_host.kill()
    for path in (own_host.data_root / "hosts/host/journal").glob("*.jsonl"):
        kept = [line for line in path.read_text().splitlines() if '"k":"close"' not in line and "run_stops" not in line]
        path.write_text("".join(f"{line}\n" for line in kept))
    own_host.start()
    assert own_host.run(own_host.order("noop"))["state"] == "completed"
    record = own_host.attempt(order.attempt_id)
    assert record is not None
    assert record["state"] == "completed"
    stops = own_host.store.find("run_stops", {"run_start": order.members[0].run_uid})
    assert [stop["exit_status"] for stop in stops] == ["success"]
    assert "somebody else had closed it" not in own_host.log_text()


@pytest.mark.parametrize("journal", ["there", "lost"])
def test_a_claim_that_did_not_get_into_the_journal_is_closed(own_host: HostBench, journal: str) -> None:
    incarnation = own_host.host_record()["incarnation"]
    own_host.kill()
    attempt = Attempt(attempt_id="step/1", state="claimed", nonce="n", host="host", incarnation=incarnation)
    own_host.store.insert_many("attempts", [{"_id": "step/1", **attempt.model_dump(mode="json")}])
    if journal == "lost":
        shutil.rmtree(own_host.data_root / "hosts")
    own_host.start()
    record = own_host.closed("step/1")
    assert (record["state"], record["touched"]) == ("interrupted", journal == "lost")


def test_a_step_finishes_without_the_store_and_ships_when_it_is_back(
    tmp_path: Path, own_mongo: MongoServer, redis_url: str
) -> None:
    with bench_of(tmp_path / "host", own_mongo.url(), redis_url) as host:
        order = host.order("moves", {"count": 10})
        with held(host, "arm"):
            host.send(order)
            wait_for(host.commands)
            own_mongo.kill()
        wait_for(lambda: host.commands()[-1:] == ["MOVE home"])
        host.send(late := host.order("moves", {"count": 1}))
        own_mongo.start()
        record = host.closed(order.attempt_id)
        assert record["state"] == "completed"
        assert record["outcomes"][0]["results"] == {"moved": 10}
        assert len(host.store.find("run_stops", {"run_start": order.members[0].run_uid})) == 1
        assert host.closed(late.attempt_id)["state"] == "completed"
        assert host.commands().count("MOVE home") == 2


def test_what_was_not_shipped_before_a_crash_is_shipped_after(
    tmp_path: Path, own_mongo: MongoServer, redis_url: str
) -> None:
    with bench_of(tmp_path / "host", own_mongo.url(), redis_url) as host:
        order = host.order("moves", {"count": 5})
        with held(host, "arm"):
            host.send(order)
            wait_for(host.commands)
            own_mongo.kill()
        wait_for(lambda: host.commands()[-1:] == ["MOVE home"])
        wait_for(lambda: '"k":"close"' in _journal_text(host))
        host.kill()
        own_mongo.start()
        host.start()
        record = host.closed(order.attempt_id)
        assert record["state"] == "completed"
        assert host.commands().count("MOVE home") == 1


@contextlib.contextmanager
def held(host: HostBench, device: str) -> Iterator[None]:
    """Let a device stand in the middle of its first motion."""
    file = host.commands_file.with_name(f"{device}.held")
    file.touch()
    try:
        yield
    finally:
        file.unlink()


def _journal_text(host: HostBench) -> str:
    return "".join(path.read_text() for path in (host.data_root / "hosts/host/journal").glob("*.jsonl"))


def test_orders_flow_again_after_redis_was_restarted(tmp_path: Path, mongo_url: str, own_redis: RedisServer) -> None:
    with bench_of(tmp_path / "host", mongo_url, own_redis.url) as host:
        running = host.order("moves", {"count": 10, "real_s": 0.05})
        host.send(running)
        wait_for(host.commands)
        own_redis.restart()
        assert host.closed(running.attempt_id)["state"] == "completed"
        assert host.run(host.order("noop"))["state"] == "completed"
        # controls are heard again, too
        attempt_id = host.send(host.order("sleeps", {"real_s": 3600}))
        wait_for(lambda: (host.attempt(attempt_id) or {}).get("state") == "running")
        host.control(attempt_id, "abort")
        assert host.closed(attempt_id)["state"] == "aborted"


def test_asked_to_end_a_host_finishes_its_step_and_takes_no_other(own_host: HostBench) -> None:
    order = own_host.order("moves", {"count": 10, "real_s": 0.1})
    own_host.send(order)
    wait_for(own_host.commands)
    assert own_host.end(signal.SIGTERM) == 0
    record = own_host.attempt(order.attempt_id)
    assert record is not None
    assert record["state"] == "completed"
    later = own_host.order("noop")
    own_host.send(later)
    own_host.start()
    assert own_host.closed(later.attempt_id)["state"] == "completed"


def test_asked_to_end_a_host_does_not_wait_for_ever(own_host: HostBench) -> None:
    own_host.kill()
    own_host.start("--finish", "0.2")
    order = own_host.order("sleeps", {"real_s": 3600})
    own_host.send(order)
    wait_for(own_host.commands)
    assert own_host.end(signal.SIGTERM) == 0
    record = own_host.attempt(order.attempt_id)
    assert record is not None
    assert (record["state"], record["reason"]) == ("aborted", "octolab: the host was shut down")


def test_a_step_that_somebody_else_closed_moves_nothing_more(own_host: HostBench) -> None:
    order = own_host.order("moves", {"count": 1000, "real_s": 0.1})
    own_host.send(order)
    wait_for(lambda: (own_host.attempt(order.attempt_id) or {}).get("state") == "running")
    assert own_host.store.update_if("attempts", order.attempt_id, {"state": "running"}, {"state": "interrupted"})
    wait_for(lambda: "somebody else had closed it" in own_host.log_text())
    seen = own_host.commands()
    assert "MOVE home" not in seen
    assert own_host.run(own_host.order("noop"))["state"] == "completed"
    assert own_host.commands() == seen
    assert own_host.attempt(order.attempt_id)["state"] == "interrupted"  # type: ignore[index]


def test_a_host_that_stood_still_asks_before_it_moves(own_host: HostBench) -> None:
    order = own_host.order("moves", {"count": 10_000, "real_s": 0.001})
    own_host.send(order)
    wait_for(lambda: (own_host.attempt(order.attempt_id) or {}).get("state") == "running")
    wait_for(lambda: len(own_host.commands()) >= 20)
    assert own_host.process is not None
    own_host.process.send_signal(signal.SIGSTOP)
    time.sleep(STANDSTILL_S + 1)
    assert own_host.store.update_if("attempts", order.attempt_id, {"state": "running"}, {"state": "interrupted"})
    seen = len(own_host.commands())
    own_host.process.send_signal(signal.SIGCONT)
    wait_for(lambda: "somebody else had closed it" in own_host.log_text())
    # One may have been on its way to the port.
    assert len(own_host.commands()) <= seen + 1
    assert own_host.run(own_host.order("noop"))["state"] == "completed"


def test_a_host_that_stood_still_and_lost_nothing_goes_on(own_host: HostBench) -> None:
    order = own_host.order("moves", {"count": 100, "real_s": 0.02})
    own_host.send(order)
    wait_for(lambda: len(own_host.commands()) >= 5)
    assert own_host.process is not None
    own_host.process.send_signal(signal.SIGSTOP)
    time.sleep(STANDSTILL_S + 1)
    own_host.process.send_signal(signal.SIGCONT)
    assert own_host.closed(order.attempt_id)["state"] == "completed"
    assert "stood still" in own_host.log_text()


def test_a_device_that_does_not_answer_is_offline_until_it_does(tmp_path: Path, mongo_url: str, redis_url: str) -> None:
    unplugged = tmp_path / "host" / "arm.unplugged"
    unplugged.parent.mkdir()
    unplugged.touch()
    with bench_of(tmp_path / "host", mongo_url, redis_url) as host:
        wait_for(lambda: host.device_state("second_arm") == "idle")
        assert host.device_state("arm") == "offline"
        order = host.order("moves", {"count": 1})
        host.send(order)
        other = host.order("noop", steps=[step("noop", {"second_arm": "use"})])
        assert host.run(other)["state"] == "completed"
        # It waits for its device instead of losing its sample.
        assert host.attempt(order.attempt_id) is None
        assert host.commands() == []
        unplugged.unlink()
        assert host.closed(order.attempt_id)["state"] == "completed"
        wait_for(lambda: host.device_state("arm") == "idle")


# ---------------------------------------------------------------------- a host that cannot run


def refused(host: HostBench, lab: str, data_root: Path) -> str:
    """Start a second host process, which must refuse; return what it says."""
    path = host.lab.with_name("other.toml")
    path.write_text(lab)
    done = subprocess.run(
        [sys.executable, "-m", "modules.host", "--lab", str(path), "--name", "host"],
        cwd=ROOT,
        env={
            "OCTOLAB_MONGO_URL": host.mongo_url,
            "OCTOLAB_REDIS_URL": host.redis_url,
            "OCTOLAB_DATA_ROOT": str(data_root),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_two_processes_of_one_host_do_not_run(shared_host: HostBench) -> None:
    says = refused(shared_host, shared_host.lab.read_text(), shared_host.data_root)
    assert "stop the other host of this name" in says


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('package = "tests.host.bench"', 'package = "not_there.at_all"', "is not installed"),
        ('package = "tests.host.bench"', 'package = "json"', "does not offer 'manifest'"),
        ('driver = "tests.host.bench:Arm"', 'driver = "tests.host.bench:Leg"', "device 'arm'"),
        ('log = "', 'colour = "', "device 'arm'"),
        ('id = "second_arm"', 'id = "third_arm"', "second_arm"),
        ("[modules.bench]", '[modules.bench]\nhost = "elsewhere"', "its hosts are elsewhere"),
    ],
)
def test_a_host_that_cannot_run_says_why(shared_host: HostBench, tmp_path: Path, old: str, new: str, says: str) -> None:
    lab = shared_host.lab.read_text().replace(old, new)
    assert says in refused(shared_host, lab, tmp_path)
