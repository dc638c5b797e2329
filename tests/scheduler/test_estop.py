"""The emergency stop as the scheduler sees it: nothing starts in its scope, and nothing that did not move is lost."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from scheduler import models
from tests.scheduler.harness import Bench, S, states
from tests.scheduler.test_failures import for_sample
from users.audit.models import AuditEntry


def latch(bench: Bench, tripped: bool, serial: int, scope: str = "lab", reason: str = "smoke") -> None:
    """Write what the web process writes, and let the scheduler look."""
    at = datetime.now(UTC).isoformat()
    content = {"scope": scope, "tripped": tripped, "serial": serial, "actor": "grace", "reason": reason, "at": at}
    bench.store.upsert("latches", {"_id": scope, **content})
    bench.store.insert_many("latch_log", [{"_id": f"{scope}/{serial}", **content}])
    bench.scheduler.hosts.look_soon()


def told() -> list[tuple[Any, ...]]:
    rows = models.Event.objects.filter(kind="estop").order_by("seq")
    return list(rows.values_list("subject", "state_to", "actor", "reason"))


def test_nothing_is_granted_until_it_is_rearmed(bench: Bench) -> None:
    latch(bench, True, 5)
    job = bench.job(S("a", {"arm": "use"}), S("b", samples=None))
    bench.turn()
    assert set(states(job).values()) == {"waiting"}
    assert set(models.Device.objects.values_list("state", "reason")) == {("estopped", "emergency stop by grace: smoke")}
    latch(bench, False, 6, reason="checked")
    bench.turn()
    assert set(states(job).values()) == {"dispatched"}
    assert models.Device.objects.get(id="eye").state == "idle"
    assert told() == [("lab", "tripped", "grace", "smoke"), ("lab", "armed", "grace", "checked")]


def test_a_device_is_stopped_with_any_of_its_modules(bench: Bench) -> None:
    """The arm belongs to another module too, and that one is stopped."""
    bench.scheduler.state.devices["arm"].modules = ["bench", "other"]
    latch(bench, True, 5, scope="other")
    with_arm, without = bench.job(S("a", {"arm": "use"})), bench.job(S("b", {"eye": "use"}))
    bench.turn()
    assert (states(with_arm), states(without)) == ({"a": "waiting"}, {"b": "dispatched"})


def test_the_log_tells_each_trip_once_also_after_a_restart(bench: Bench) -> None:
    latch(bench, True, 5)
    latch(bench, False, 6, reason="looked")
    latch(bench, True, 9, reason="again")
    bench.turn()
    bench.scheduler.rebuild()
    bench.scheduler.hosts.look_soon()
    bench.turn()
    assert [(to, reason) for _, to, _, reason in told()] == [
        ("tripped", "smoke"),
        ("armed", "looked"),
        ("tripped", "again"),
    ]


def test_every_trip_stands_in_the_audit_log_also_one_by_an_interlock(bench: Bench) -> None:
    latch(bench, True, 5)
    at = datetime.now(UTC).isoformat()
    content = {"scope": "bench", "tripped": True, "serial": 7, "actor": "interlock heavy", "reason": "12 N", "at": at}
    bench.store.upsert("latches", {"_id": "bench", **content})
    bench.store.insert_many("latch_log", [{"_id": "bench/7", **content}])
    bench.scheduler.hosts.look_soon()
    bench.turn()
    bench.restart()
    entries = AuditEntry.objects.filter(verb="estop.trip").order_by("seq").values_list("actor", "subject")
    assert list(entries) == [("grace", "lab"), ("interlock heavy", "bench")]


def test_an_order_that_the_stop_has_refused_waits_and_loses_nothing(bench: Bench) -> None:
    job = bench.job(*for_sample(0))
    bench.turn()
    (order,) = bench.host.claim()
    latch(bench, True, 5)
    bench.scheduler.hosts._looked_s = 1e12  # the scheduler has not looked yet: only the host knows
    bench.host.close(order, "failed", touched=False, emergency=True, error="the emergency stop is tripped")
    bench.turn()
    assert states(job)["put0"] == "waiting"
    assert bench.host.deliver() == []
    latch(bench, False, 6)
    bench.run_to_end(job)
    job.refresh_from_db()
    assert (job.state, job.samples_failed) == ("completed", 0)


def test_what_had_moved_is_for_the_operator(bench: Bench) -> None:
    job = bench.job(*for_sample(0))
    bench.turn()
    (order,) = bench.host.claim()
    latch(bench, True, 5)
    bench.host.close(order, "interrupted", emergency=True, error="emergency stop", last_command="arm: MOVE 1")
    bench.turn()
    latch(bench, False, 6)
    bench.turn()
    job.refresh_from_db()
    assert (job.state, states(job)["put0"]) == ("needs_operator", "interrupted")
    assert models.Device.objects.get(id="arm").state == "unknown"
