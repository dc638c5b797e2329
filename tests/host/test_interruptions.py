"""Pause, resume, stop, abort, halt and the emergency stop, for plain actions and for plans."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .harness import HostBench, step, wait_for


def started(host: HostBench, action: str, count: int, real_s: float = 0.15) -> str:
    """Send an order and wait for its first command; return the attempt's id."""
    attempt_id = host.send(host.order(action, {"count": count, "real_s": real_s}))
    wait_for(host.commands)
    return attempt_id


def stands_still(host: HostBench) -> bool:
    """Whether no command arrives for some time."""
    seen = len(host.commands())
    try:
        wait_for(lambda: len(host.commands()) > seen, patience_s=0.5)
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("action", ["moves", "scan"])
@pytest.mark.parametrize("heard", [True, False], ids=["rung", "looked up"])
def test_pause_holds_at_a_checkpoint_and_resume_repeats_nothing(host: HostBench, action: str, heard: bool) -> None:
    attempt_id = started(host, action, 30)
    host.control(attempt_id, "pause", heard=heard)
    wait_for(lambda: stands_still(host))
    at_pause = [command for command in host.commands() if command.startswith("MOVE")]
    assert len(at_pause) < 30
    assert host.attempt(attempt_id)["state"] == "running"  # type: ignore[index]
    host.control(attempt_id, "resume")
    wait_for(lambda: len(host.commands()) > len(at_pause) + 1)
    host.control(attempt_id, "stop")
    host.closed(attempt_id)
    moves = [command for command in host.commands() if command.startswith("MOVE")][:-1]
    assert moves == [f"MOVE {index}" for index in range(len(moves))]


@pytest.mark.parametrize("action", ["moves", "scan"])
def test_stop_finishes_cleanly_and_keeps_the_data(host: HostBench, action: str) -> None:
    attempt_id = started(host, action, 1000)
    host.control(attempt_id, "stop")
    record = host.closed(attempt_id)
    assert record["state"] == "completed"
    assert record["reason"] == "stopped by grace: a test"
    assert [outcome["ok"] for outcome in record["outcomes"]] == [True]
    assert host.commands()[-1] in ("MOVE home", "MOVE 100", "STOP True")
    stop = host.store.find("run_stops", {"run_start": record["outcomes"][0]["run_uid"]})[0]
    assert stop["exit_status"] == "success"


@pytest.mark.parametrize("action", ["moves", "scan"])
@pytest.mark.parametrize("paused", [False, True])
def test_abort_cleans_up_and_names_who_and_why(host: HostBench, action: str, paused: bool) -> None:
    attempt_id = started(host, action, 1000)
    if paused:
        host.control(attempt_id, "pause")
        wait_for(lambda: stands_still(host))
    host.control(attempt_id, "abort", reason="wrong vial")
    record = host.closed(attempt_id)
    assert record["state"] == "aborted"
    assert record["reason"] == "grace: wrong vial"
    assert [outcome["ok"] for outcome in record["outcomes"]] == [False]
    assert {"MOVE home", "MOVE 100"} & set(host.commands())
    if action == "scan":
        assert host.commands()[-1] == "STOP False"
    stop = host.store.find("run_stops", {"run_start": record["outcomes"][0]["run_uid"]})[0]
    assert (stop["exit_status"], stop["reason"]) == ("abort", "grace: wrong vial")


@pytest.mark.parametrize("action", ["moves", "scan"])
def test_halt_sends_nothing_any_more(host: HostBench, action: str) -> None:
    attempt_id = started(host, action, 1000)
    host.control(attempt_id, "halt")
    record = host.closed(attempt_id)
    assert record["state"] == "aborted"
    assert not {"MOVE home", "MOVE 100"} & set(host.commands())
    assert "SAFE" in host.commands()


def test_a_block_that_is_stopped_still_does_its_last_step(host: HostBench) -> None:
    steps = [step("moves"), step("moves")]
    order = host.order("moves", {"count": 8, "real_s": 0.1}, steps=steps, attempt_id=f"{steps[0].step_id}/1")
    host.send(order)
    wait_for(host.commands)
    host.control(order.attempt_id, "stop")
    record = host.closed(order.attempt_id)
    assert record["state"] == "completed"
    assert set(record["step_ends_lab_s"]) == {one.step_id for one in steps}
    assert host.commands()[-9:] == [*(f"MOVE {index}" for index in range(8)), "MOVE home"]


def test_a_sleep_declared_immediate_ends_at_once(host: HostBench) -> None:
    attempt_id = host.send(host.order("sleeps", {"real_s": 3600}))
    wait_for(host.commands)
    host.control(attempt_id, "abort")
    assert host.closed(attempt_id)["state"] == "aborted"


def test_a_plan_folds_into_the_run_of_its_member(host: HostBench) -> None:
    record = host.run(host.order("scan", {"count": 3}))
    assert record["state"] == "completed"
    assert host.commands() == ["MOVE 0", "MOVE 1", "MOVE 2", "MOVE 100", "STOP True"]
    assert record["outcomes"][0]["results"] == {"moved": 100}
    uid = record["outcomes"][0]["run_uid"]
    descriptors = {d["name"]: d for d in host.store.find("descriptors", {"run_start": uid})}
    assert set(descriptors) == {"primary", "do"}
    events = host.store.find("events", {"descriptor": descriptors["primary"]["uid"]}, sort=[("seq_num", 1)])
    assert [event["data"]["arm"] for event in events] == [0.0, 1.0, 2.0]
    assert descriptors["primary"]["data_keys"]["arm"]["units"] == "mm"
    assert host.store.find("run_stops", {"run_start": uid})[0]["num_events"] == {"primary": 3, "do": 1}


# ---------------------------------------------------------------------- emergency stop


@pytest.fixture
def serial(host: HostBench) -> Iterator[int]:
    """A number for a trip; afterwards the stop is re-armed and the devices are back."""
    found = host.store.find_ids("latches", ["lab"])
    number = (found[0]["serial"] if found else 0) + 1
    yield number
    host.latch(False, number + 1)
    wait_for(lambda: host.device_state("arm") == "idle")


@pytest.mark.parametrize("path", ["redis", "store"])
def test_the_emergency_stop_does_not_wait_for_a_driver_that_blocks(host: HostBench, serial: int, path: str) -> None:
    host.commands_file.with_name("second_arm.unsafe").touch()
    attempt_id = started(host, "moves", 1, real_s=3600)
    host.latch(True, serial, heard=path == "redis", stored=path == "store")
    record = host.closed(attempt_id)
    assert record["state"] == "interrupted", record["error"]
    assert record["touched"] is True
    assert "emergency stop by grace: smoke" in record["error"]
    assert record["last_command"] == "arm: MOVE 0"
    assert "MOVE home" not in host.commands()
    reports = wait_for(lambda: _reports(host, serial))
    assert {report["device"]: report["confirmed"] for report in reports} == {"arm": True, "second_arm": False}
    host.commands_file.with_name("second_arm.unsafe").unlink()


def _reports(host: HostBench, serial: int) -> list[dict[str, object]] | None:
    found = host.store.find_ids("safe_states", [f"lab/{serial}/{device}" for device in ("arm", "second_arm")])
    return found if len(found) == 2 else None


def test_nothing_starts_while_the_emergency_stop_is_tripped(host: HostBench, serial: int) -> None:
    host.latch(True, serial)
    wait_for(lambda: "SAFE" in host.commands())
    record = host.run(host.order("moves", {"count": 1}))
    assert (record["state"], record["touched"]) == ("failed", False)
    assert "emergency stop" in record["error"]
    host.latch(False, serial + 1)
    wait_for(lambda: host.run(host.order("moves", {"count": 1}))["state"] == "completed")
    host.latch(True, serial, stored=False)  # an old message changes nothing
    assert host.run(host.order("moves", {"count": 1}))["state"] == "completed"
