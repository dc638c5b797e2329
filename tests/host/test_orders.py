"""From an order to a closed attempt, through the real process."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import event_model
import pytest
from event_model import DocumentNames

from modules.contract.messages import LIVE_CHANNEL, SCHEDULER_BELL, Attempt, Live, Member, Order
from octolab.ids import new_id

from .harness import HostBench, step, wait_for


def documents_of(host: HostBench, order: Order) -> dict[str, list[dict[str, Any]]]:
    """Return all documents of an order's runs."""
    uids = [member.run_uid for member in order.members]
    starts = host.store.find_ids("run_starts", uids)
    descriptors = [d for uid in uids for d in host.store.find("descriptors", {"run_start": uid})]
    events = [e for d in descriptors for e in host.store.find("events", {"descriptor": d["uid"]})]
    stops = [s for uid in uids for s in host.store.find("run_stops", {"run_start": uid})]
    return {"start": starts, "descriptor": descriptors, "event": events, "stop": stops}


def assert_valid(documents: dict[str, list[dict[str, Any]]]) -> None:
    for name, found in documents.items():
        for document in found:
            plain = {key: value for key, value in document.items() if key != "_id"}
            event_model.schema_validators[DocumentNames[name]].validate(plain)


def test_an_order_runs_once_and_is_closed(host: HostBench) -> None:
    order = host.order("moves", {"count": 2})
    record = host.run(order)
    Attempt.model_validate({key: value for key, value in record.items() if key != "_id"})
    assert record["state"] == "completed"
    assert record["touched"] is True
    assert record["last_command"] == "arm: MOVE home"
    assert record["claimed_lab_s"] <= record["started_lab_s"] <= record["first_command_lab_s"] <= record["ended_lab_s"]
    assert record["step_ends_lab_s"].keys() == {order.steps[0].step_id}
    assert [outcome["results"] for outcome in record["outcomes"]] == [{"moved": 2}]
    assert host.commands() == ["MOVE 0", "MOVE 1", "MOVE home"]
    lines = wait_for(lambda: host.store.find("wire_log", {"attempt_id": order.attempt_id}))[0]["lines"]
    assert [line["text"] for line in lines] == ["MOVE 0", "MOVE 1", "MOVE home"]


def test_documents_are_event_model_and_say_whose_they_are(host: HostBench) -> None:
    order = host.order("moves", {"count": 1})
    assert host.run(order)["state"] == "completed"
    documents = documents_of(host, order)
    assert_valid(documents)
    assert [len(documents[name]) for name in ("start", "descriptor", "event", "stop")] == [1, 1, 1, 1]
    start = documents["start"][0]
    member = order.members[0]
    assert (start["owner"], start["project"], start["job_id"]) == ("ada", order.project_id, order.job_id)
    assert (start["sample_id"], start["task_id"]) == (member.sample_id, member.task_id)
    assert (start["attempt_id"], start["simulated"]) == (order.attempt_id, True)
    assert documents["stop"][0]["exit_status"] == "success"


def test_a_batch_has_a_run_per_member_and_one_bad_member_fails_no_other(host: HostBench) -> None:
    members = [
        Member(
            task_id=str(new_id()),
            sample_id=str(new_id()),
            sample_name=name,
            parameters={"bad": bad},
            run_uid=str(new_id()),
        )
        for name, bad in (("a", False), ("b", True), ("c", False))
    ]
    order = host.order("measure", members=members)
    record = host.run(order)
    assert record["state"] == "completed"
    assert [outcome["ok"] for outcome in record["outcomes"]] == [True, False, True]
    assert record["outcomes"][1]["error"] == "the vial was empty"
    assert record["outcomes"][2]["results"]["peak_nm"] == 402.0
    assert record["touched"] is False
    documents = documents_of(host, order)
    assert_valid(documents)
    assert [stop["exit_status"] for stop in documents["stop"]] == ["success", "fail", "success"]
    reference = record["outcomes"][0]["arrays"]["absorbance"]
    assert (host.data_root / reference["file"]).stat().st_size == reference["bytes"]
    results = host.store.find_ids("results", [members[0].run_uid])[0]
    assert results["values"]["peak_nm"] == {"value": 400.0, "unit": "nm"}
    assert results["arrays"]["absorbance"] == reference


def test_a_second_delivery_runs_nothing(host: HostBench) -> None:
    order = host.order("moves", {"count": 1})
    host.send(order)
    host.send(order)
    assert host.closed(order.attempt_id)["state"] == "completed"
    host.send(order)
    # an order that comes later on the same queue is done later
    assert host.run(host.order("noop"))["state"] == "completed"
    assert host.commands() == ["MOVE 0", "MOVE home"]


def test_a_withdrawn_order_does_not_run(host: HostBench) -> None:
    order = host.order("moves", {"count": 1})
    withdrawn = Attempt(attempt_id=order.attempt_id, state="withdrawn", nonce="the scheduler's")
    assert host.store.claim(
        "attempts", {"_id": order.attempt_id, **withdrawn.model_dump(mode="json")}, "the scheduler's"
    )
    host.send(order)
    assert host.run(host.order("noop"))["state"] == "completed"
    assert host.closed(order.attempt_id)["state"] == "withdrawn"
    assert host.commands() == []


def test_an_order_past_its_deadline_is_dropped(host: HostBench) -> None:
    order = host.order("moves", {"count": 1}, deadline_at=datetime.now(UTC) - timedelta(seconds=1))
    host.send(order)
    assert host.run(host.order("noop"))["state"] == "completed"
    assert host.attempt(order.attempt_id) is None
    assert host.commands() == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"manifest_hash": "sha256:0123"}, "has changed since the step was planned"),
        ({"fence": 0}, "epoch 0"),
        ({"steps": [step("moves", {"elsewhere": "use"})]}, "elsewhere"),
        ({"steps": [step("dance")]}, "dance"),
    ],
)
def test_an_order_that_may_not_run_is_refused_with_the_reason(
    host: HostBench, changes: dict[str, Any], says: str
) -> None:
    assert host.run(host.order("noop"))["state"] == "completed"
    order = host.order("moves", {"count": 1}, **changes)
    record = host.run(order)
    assert (record["state"], record["touched"]) == ("failed", False)
    assert says in record["error"]
    assert [outcome["ok"] for outcome in record["outcomes"]] == [False]
    assert host.commands() == []


def test_a_malformed_order_harms_nothing(host: HostBench) -> None:
    host.celery.send_task("octolab.order", args=[{"attempt_id": "x"}], queue="module.bench")
    assert host.run(host.order("noop"))["state"] == "completed"


def test_a_block_runs_back_to_back_with_an_end_per_step(host: HostBench) -> None:
    steps = [step("moves"), step("noop"), step("moves")]
    order = host.order("moves", {"count": 1}, steps=steps, attempt_id=f"{steps[0].step_id}/1")
    record = host.run(order)
    assert record["state"] == "completed"
    ends = [record["step_ends_lab_s"][one.step_id] for one in steps]
    assert ends == sorted(ends)
    assert host.commands() == ["MOVE 0", "MOVE home"] * 2


def test_two_attempts_never_use_one_device_at_once(host: HostBench) -> None:
    orders = [host.order("moves", {"count": 2, "real_s": 0.05}) for _ in range(4)]
    for order in orders:
        host.send(order)
    records = [host.closed(order.attempt_id) for order in orders]
    spans = sorted((record["started_lab_s"], record["ended_lab_s"]) for record in records)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    assert host.commands() == ["MOVE 0", "MOVE 1", "MOVE home"] * 4


def test_an_order_waits_for_its_own_devices_only(host: HostBench) -> None:
    slow = host.order("moves", {"count": 1, "real_s": 5.0})
    host.send(slow)
    wait_for(host.commands)
    other = host.order("noop", steps=[step("noop", {"second_arm": "use"})])
    assert host.run(other)["state"] == "completed"
    assert host.attempt(slow.attempt_id)["state"] in ("claimed", "running")  # type: ignore[index]
    host.control(slow.attempt_id, "halt")
    host.closed(slow.attempt_id)


@pytest.mark.parametrize(
    ("how", "state", "device_state"),
    [("broken", "failed", "error"), ("uncertain", "interrupted", "unknown"), ("unplugged", "failed", "unknown")],
)
def test_a_failing_device_is_named_with_its_last_command(
    host: HostBench, how: str, state: str, device_state: str
) -> None:
    record = host.run(host.order("failing", {"how": how}))
    assert record["state"] == state
    assert record["error"].startswith("arm: ")
    assert record["last_command"].partition(": ")[2] in record["error"]
    wait_for(lambda: host.device_state("arm") == device_state)
    wait_for(lambda: host.device_state("arm") == "idle")


def test_a_mistake_in_a_module_fails_the_attempt_with_its_name(host: HostBench) -> None:
    record = host.run(host.order("failing", {"how": "a mistake"}))
    assert record["state"] == "failed"
    assert "ZeroDivisionError" in record["error"]
    assert "MOVE 0" in record["error"]


def test_a_device_that_is_to_be_still_does_not_move(host: HostBench) -> None:
    record = host.run(host.order("stillness", steps=[step("stillness", {"arm": "still"})]))
    assert (record["state"], record["touched"]) == ("failed", False)
    assert "still" in record["error"]
    assert host.commands() == []


def test_with_a_full_disk_the_step_fails_before_the_command_is_sent(host: HostBench) -> None:
    record = host.run(host.order("fill_disk"))
    assert record["state"] == "failed"
    assert "was not sent" in record["error"]
    assert "MOVE never" not in host.commands()
    assert host.run(host.order("moves", {"count": 1}))["state"] == "completed"


def test_a_host_publishes_what_it_serves(host: HostBench) -> None:
    record = host.host_record()
    manifests = host.store.find_ids("manifests", [record["modules"]["bench"]])
    assert manifests[0]["manifest"]["package"] == "tests.host.bench"
    beat = record["beat"]
    wait_for(lambda: host.host_record()["beat"] > beat)


def test_progress_is_told_and_the_scheduler_is_rung(host: HostBench) -> None:
    with host.redis.pubsub(ignore_subscribe_messages=True) as channel:
        channel.subscribe(LIVE_CHANNEL, SCHEDULER_BELL)
        wait_for(lambda: host.redis.pubsub_numsub(LIVE_CHANNEL)[0][1])
        order = host.order("moves", {"count": 3, "real_s": 0.3})
        host.send(order)
        heard: dict[str, bytes] = {}

        def both() -> bool:
            if (message := channel.get_message(timeout=0.1)) is not None:
                heard[message["channel"].decode()] = message["data"]
            return heard.keys() == {LIVE_CHANNEL, SCHEDULER_BELL}

        wait_for(both)
        live = Live.model_validate_json(heard[LIVE_CHANNEL])
        assert (live.attempt_id, live.owner, live.job_id) == (order.attempt_id, "ada", order.job_id)
        assert live.progress is not None
        assert host.closed(order.attempt_id)["state"] == "completed"
