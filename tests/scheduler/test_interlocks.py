"""What the scheduler makes of an interlock that a host has tripped."""

from __future__ import annotations

import pytest

from modules.contract.interlocks import InterlockSection
from notifications.models import Channel, Notification
from scheduler import models
from tests.scheduler.harness import Bench, S, states
from tests.scheduler.test_control import running, state
from tests.scheduler.test_maintenance import device
from tests.scheduler.test_requests import controls
from users.services import set_lab_role


def declare(bench: Bench, does: str = "block") -> None:
    section = InterlockSection(
        id="hot", reading="oven.temperature_degc", rule="ceiling", trip=90.0, covers=("arm",), does=does
    )
    bench.lab = bench.lab.model_copy(update={"interlocks": (section,)})
    bench.restart()


def trip(bench: Bench, tripped: bool, serial: int, value: float) -> None:
    """Write what a host writes, and let the scheduler look."""
    record = {
        "schema_version": 1, "interlock": "hot", "tripped": tripped, "serial": serial, "value": value, "host": "host",
        "at": "2026-01-01T00:00:00+00:00", "lab_s": 1.0,
    }  # fmt: skip
    bench.store.upsert("interlocks", {"_id": "hot", **record})
    bench.store.insert_many("interlock_log", [{"_id": f"hot/{serial}", **record}])
    bench.look()


def test_nothing_starts_on_what_it_covers_until_it_is_clear(bench: Bench) -> None:
    declare(bench)
    trip(bench, True, 1, 95.0)
    job, other = bench.job(S("a", {"arm": "use"})), bench.job(S("b", {"eye": "use"}))
    bench.turn()
    assert (states(job), states(other)) == ({"a": "waiting"}, {"b": "dispatched"})
    assert device("arm") == ("error", "interlock hot is tripped: oven.temperature_degc was 95")
    bench.restart()
    bench.turn()
    assert states(job) == {"a": "waiting"}
    trip(bench, False, 2, 80.0)
    bench.run_to_end(job, other)
    told = models.Event.objects.filter(kind="interlock").order_by("seq").values_list("state_to", "reason")
    assert list(told) == [
        ("tripped", "oven.temperature_degc is 95"),
        ("clear", "oven.temperature_degc is 80"),
    ]


@pytest.mark.parametrize(("does", "heard"), [("pause", []), ("abort", ["abort"]), ("block", [])])
def test_what_runs_on_what_it_covers_follows(bench: Bench, does: str, heard: list[str]) -> None:
    """The action has no safe point, so a pause lets it end, and nothing follows."""
    declare(bench, does)
    job = bench.job(S("a", {"arm": "use"}), S("b", {"eye": "use"}, needs=["a"]))
    order = running(bench, job)
    trip(bench, True, 1, 95.0)
    assert state(job) == ("paused" if does == "pause" else "running")
    assert controls(bench) == heard
    bench.host.close(order, "aborted" if does == "abort" else "completed")
    bench.turn(10)
    follows = {"pause": "waiting", "abort": "skipped", "block": "dispatched"}[does]
    assert states(job)["b"] == follows
    if does == "pause":
        assert job.state_reason == "oven.temperature_degc is 95"
        trip(bench, False, 2, 80.0)
        assert state(job) == "paused", "somebody has to resume it"
        bench.request("resume", job)
        bench.run_to_end(job)


def test_operators_are_told_of_trip_and_clear_and_acknowledge_by_name(bench: Bench) -> None:
    set_lab_role(bench.owner, "operator")
    Channel.objects.create(user=bench.owner, name="chat", url="json://127.0.0.1:9/x", events=["finished"])
    declare(bench)
    trip(bench, True, 1, 95.0)
    assert bench.request("acknowledge", interlock="hot", note="fan was off").refused == ""
    assert "ada has acknowledged it" in bench.request("acknowledge", interlock="hot").refused
    row = models.Interlock.objects.get()
    assert (row.tripped, row.acknowledged_by, row.note) == (True, "ada", "fan was off")
    trip(bench, False, 2, 80.0)
    assert models.Interlock.objects.get().acknowledged_by == "", "a clear is news again"
    events = Notification.objects.order_by("id").values_list("event", flat=True)
    assert list(events) == ["interlock_tripped", "interlock_clear"]
    assert "hot" in Notification.objects.first().title  # type: ignore[union-attr]
