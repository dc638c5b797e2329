"""Hosts that fall silent, come back, or say that a device is not well; and what an operator decides."""

from __future__ import annotations

import pytest

from modules.contract.messages import Order
from modules.host.heartbeat import BEAT_S
from scheduler import models
from scheduler.process import hosts
from tests.scheduler.harness import Bench, S, make_manifest, states


@pytest.fixture(autouse=True)
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a lease end as soon as two looks in a row have seen the same beat."""
    monkeypatch.setattr(hosts, "LEASE_S", -1.0)


def running(bench: Bench, job: models.Job) -> Order:
    bench.turn()
    (order,) = bench.host.claim()
    bench.host.start(order)
    bench.turn()
    return order


def device(name: str) -> models.Device:
    return models.Device.objects.get(id=name)


def test_a_lapsed_lease_interrupts_and_blocks(bench: Bench) -> None:
    job, other = bench.job(S("a", {"arm": "use"})), bench.job(S("b", {"pump": "use"}))
    bench.turn()
    first, _ = bench.host.claim()
    bench.host.start(first)
    bench.turn()
    bench.look()
    assert states(job)["a"] == "interrupted"
    assert states(other)["b"] == "interrupted"
    job.refresh_from_db()
    assert job.state == "needs_operator"
    assert device("arm").state == "unknown"
    assert device("eye").state == "offline"
    assert bench.store.find_ids("attempts", [first.attempt_id])[0]["state"] == "interrupted"
    # The host comes back: what was interrupted stays blocked, the rest works.
    bench.host.restart()
    bench.alive()
    assert device("arm").state == "unknown"
    assert device("eye").state == "idle"


def test_a_silent_host_is_seen_in_time_and_keeps_its_lease_a_little_longer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hosts.SILENT_S + hosts.LOOK_S + BEAT_S < 10, "a dead worker is to be seen within 10 s"
    monkeypatch.setattr(hosts, "LEASE_S", 3600.0)
    monkeypatch.setattr(hosts, "SILENT_S", -1.0)
    runs, waits = bench.job(S("a", {"arm": "use"})), bench.job(S("b", {"arm": "use"}))
    order = running(bench, runs)
    bench.look()
    assert (device("pump").state, device("pump").reason) == ("offline", "its host does not answer")
    assert (states(runs)["a"], states(waits)["b"]) == ("running", "waiting")
    # It was only slow: what ran has ended, and the rest goes on.
    bench.host.close(order)
    bench.alive()
    assert states(runs)["a"] == "completed"
    bench.run_to_end(waits)


def interrupted(bench: Bench) -> tuple[models.Job, models.Step]:
    job = bench.job(S("a", {"arm": "use"}, takes=["shelf"], consumes={"vials": 1}), S("b", {"arm": "use"}, needs=["a"]))
    running(bench, job)
    bench.look()
    return job, job.steps.get(name="a")


def test_done_goes_on_with_the_next_step(bench: Bench) -> None:
    job, step = interrupted(bench)
    assert "note" in bench.request("decide", job, step=str(step.id), decision="done", note=" ").refused
    assert bench.request("decide", job, step=str(step.id), decision="done", note="vial stands there").refused == ""
    job.refresh_from_db()
    assert (job.state, states(job)["a"]) == ("running", "completed")
    bench.host.restart()
    bench.alive()
    assert device("arm").state in ("idle", "busy")
    bench.run_to_end(job)
    assert models.Stock.objects.get(id="vials").level == 9


def test_failed_loses_the_sample(bench: Bench) -> None:
    job, step = interrupted(bench)
    bench.host.restart()
    bench.alive()
    assert bench.request("decide", job, step=str(step.id), decision="failed", note="vial broken").refused == ""
    job.refresh_from_db()
    assert (job.state, job.samples.get().state, states(job)) == ("failed", "failed", {"a": "failed", "b": "skipped"})
    assert device("arm").state == "idle"


def test_repeat_waits_until_the_old_incarnation_has_ended(bench: Bench) -> None:
    job, step = interrupted(bench)
    wish = {"step": str(step.id), "decision": "repeat", "note": "nothing moved"}
    bench.host.beat()
    bench.look()
    assert "known to have ended" in bench.request("decide", job, **wish).refused
    bench.host.restart()
    bench.alive()
    assert bench.request("decide", job, **wish).refused == ""
    (order,) = bench.host.claim()
    assert order.attempt == 2
    bench.host.close(order)
    bench.run_to_end(job)
    assert "does not wait" in bench.request("decide", job, **wish).refused


def test_an_untouched_interruption_is_repeated_silently(bench: Bench) -> None:
    job = bench.job(S("a", {"arm": "use"}))
    order = running(bench, job)
    bench.host.close(order, "interrupted", touched=False, reason="the host ended")
    bench.turn()
    (again,) = bench.host.claim()
    assert (again.attempt, states(job)["a"]) == (2, "dispatched")
    bench.host.close(again)
    bench.run_to_end(job)


@pytest.mark.parametrize("verb", ["cancel", "abort", "halt", "stop"])
def test_what_a_job_was_doing_when_it_was_ended_is_not_done_after_all(bench: Bench, verb: str) -> None:
    """The host hangs before its first command, the job is ended, the host is restarted: nothing may move for it."""
    job = bench.job(S("a", {"arm": "use"}), S("b", {"arm": "use"}, needs=["a"]))
    order = running(bench, job)
    bench.request(verb, job)
    bench.host.restart()
    bench.host.close(order, "interrupted", touched=False, reason="the host ended")
    bench.alive()
    bench.turn()
    assert bench.host.claim() == []
    job.refresh_from_db()
    assert job.finished_lab_s is not None
    assert states(job) == {"a": "aborted", "b": "cancelled"}


def test_a_touched_interruption_found_by_a_restarted_host_waits_for_a_decision(bench: Bench) -> None:
    job = bench.job(S("a", {"arm": "use"}))
    order = running(bench, job)
    bench.host.restart()
    bench.host.close(order, "interrupted", touched=True, last_command="arm: MOVE 3", reason="the host ended")
    bench.alive()
    step = job.steps.get()
    assert step.state == "interrupted"
    event = models.Event.objects.get(subject=str(step.id), state_to="interrupted")
    assert event.data == {"last_command": "arm: MOVE 3"}
    assert bench.request("decide", job, step=str(step.id), decision="repeat", note="ok").refused == ""


def test_only_steps_that_need_a_broken_device_wait(bench: Bench) -> None:
    bench.host.devices["arm"] = "error"
    bench.alive()
    assert device("arm").state == "error"
    waits, goes = bench.job(S("a", {"arm": "use"})), bench.job(S("b", {"pump": "use"}), S("c", {"eye": "use"}))
    shared = bench.job(S("d", {"arm": "use", "oven": "use"}))
    later = bench.job(S("e", {"oven": "use"}))
    bench.turn()
    assert states(waits) == {"a": "waiting"}
    assert states(goes)["b"] == "dispatched"
    # What waits for the arm does not hold up the oven.
    assert (states(shared), states(later)) == ({"d": "waiting"}, {"e": "dispatched"})
    for order in bench.host.claim():
        bench.host.close(order)
    bench.host.devices["arm"] = "idle"
    bench.alive()
    assert states(waits) == {"a": "dispatched"}
    bench.run_to_end(waits, goes, shared, later)


def test_a_chain_with_a_window_does_not_start_without_its_downstream_devices(bench: Bench) -> None:
    bench.host.devices["eye"] = "error"
    bench.alive()
    chain = bench.job(S("a", {"arm": "use"}), S("b", {"eye": "use"}, needs=[("a", 0, 5)]))
    loose = bench.job(S("a", {"pump": "use"}), S("b", {"eye": "use"}, needs=["a"]))
    bench.turn()
    assert states(chain)["a"] == "waiting"
    assert states(loose)["a"] == "dispatched"
    bench.host.devices["eye"] = "idle"
    bench.alive()
    bench.run_to_end(chain, loose)
    assert not models.Event.objects.filter(reason__contains="later than allowed").exists()


def test_a_changed_manifest_goes_on_if_it_means_the_same_and_holds_jobs_if_not(bench: Bench) -> None:
    bench.host.devices["arm"] = "offline"
    bench.alive()
    job = bench.job(S("a", {"arm": "use"}))
    bench.turn()
    bench.host.manifest = make_manifest("2")
    bench.host.publish()
    bench.alive()
    job.refresh_from_db()
    assert (job.state, job.manifests["bench"]) == ("queued", bench.host.manifest.hash())
    assert models.Module.objects.get(id="bench").manifest_id == bench.host.manifest.hash()
    bench.host.manifest = make_manifest("3", title="Something else")
    bench.host.publish()
    bench.host.devices["arm"] = "idle"
    bench.alive()
    job.refresh_from_db()
    assert job.state == "held"
    assert "submit it again" in job.state_reason
    # The old one comes back: so does what the job was accepted for.
    bench.host.manifest = make_manifest("2")
    bench.alive()
    job.refresh_from_db()
    assert (job.state, states(job)["a"]) == ("queued", "dispatched")


def test_an_emergency_stop_lets_nothing_start(bench: Bench) -> None:
    latch = {"_id": "lab", "scope": "lab", "tripped": True, "serial": 1, "actor": "eve", "reason": "smoke"}
    bench.store.upsert("latches", latch)
    bench.look()
    job = bench.job(S("a", {"arm": "use"}))
    bench.turn()
    assert (states(job)["a"], device("arm").state) == ("waiting", "estopped")
    bench.store.upsert("latches", {**latch, "tripped": False, "serial": 2})
    bench.alive()
    assert (states(job)["a"], device("arm").state) == ("dispatched", "busy")
