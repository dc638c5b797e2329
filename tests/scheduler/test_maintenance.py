"""Locks, quarantine, and what is run by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from scheduler import models
from scheduler.services import maintenance
from tests.scheduler.harness import Bench, S, make_user, states
from users.services import set_lab_role


def device(name: str) -> tuple[str, str]:
    row = models.Device.objects.get(id=name)
    return row.state, row.reason


def lock(bench: Bench, target: str = "arm", kind: str = "device", **fields: object) -> models.Request:
    return bench.request("lock", kind=kind, target=target, reason="cleaning", **fields)


def test_nobodys_steps_start_on_a_locked_device_and_what_runs_is_not_disturbed(bench: Bench) -> None:
    first, second, third = (bench.job(S("a", {d: "use"})) for d in ("arm", "arm", "eye"))
    bench.turn()
    orders = bench.host.claim()
    for order in orders:
        bench.host.start(order)
    assert lock(bench).refused == ""
    assert device("arm")[0] == "busy"
    for order in orders:
        bench.host.close(order)
    bench.turn(10)
    assert [states(job)["a"] for job in (first, second, third)] == ["completed", "waiting", "completed"]
    assert device("arm") == ("maintenance", "locked by ada: cleaning")
    found = models.MaintenanceLock.objects.get()
    assert bench.request("unlock", lock=str(found.id), note="done").refused == ""
    bench.run_to_end(second)
    assert device("arm") == ("idle", "")
    found.refresh_from_db()
    assert (found.released_by, found.released_at is not None) == ("ada", True)
    told = models.Event.objects.filter(kind="maintenance").order_by("seq").values_list("subject", "state_to", "actor")
    assert list(told) == [("arm", "locked", "ada"), ("arm", "released", "ada")]


def test_a_module_is_locked_with_all_its_devices(bench: Bench) -> None:
    lock(bench, "bench", "module")
    job = bench.job(S("a", {"eye": "use"}))
    bench.turn()
    assert states(job) == {"a": "waiting"}
    assert {state for state, _ in map(device, ("arm", "eye", "oven", "pump"))} == {"maintenance"}


def test_a_lock_ends_by_itself_and_survives_the_scheduler(bench: Bench) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    lock(bench, expires_at=soon.isoformat())
    bench.restart()
    assert device("arm")[0] == "maintenance"
    models.MaintenanceLock.objects.update(expires_at=datetime.now(UTC))
    bench.restart()
    assert device("arm")[0] == "idle"
    assert models.MaintenanceLock.objects.get().released_by == "octolab"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"target": "nonsense"}, "there is no device"),
        ({"expires_at": "yesterday"}, "ISO date"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "passed"),
    ],
)
def test_what_cannot_be_locked_is_refused(bench: Bench, fields: dict[str, str], why: str) -> None:
    assert why in lock(bench, **fields).refused
    assert not models.MaintenanceLock.objects.exists()


def test_two_people_cannot_hold_the_same_lock(bench: Bench) -> None:
    lock(bench)
    assert "ada" in lock(bench).refused
    assert models.MaintenanceLock.objects.count() == 1


def test_the_holder_may_run_by_hand_what_others_may_not(bench: Bench) -> None:
    """Others' work that waits for the device holds the holder's up neither."""
    other = make_user("eve")
    waiting = bench.job(S("a", {"arm": "use"}))
    lock(bench)
    theirs, mine = bench.job(S("b", {"arm": "use"})), bench.job(S("c", {"arm": "use"}))
    models.Job.objects.filter(id=theirs.id).update(manual=True, owner=other)
    models.Job.objects.filter(id=mine.id).update(manual=True)
    bench.restart()
    bench.turn()
    (order,) = bench.host.claim()
    assert order.job_id == str(mine.id)
    bench.host.close(order)
    bench.turn(10)
    assert (states(waiting), states(theirs), states(mine)) == ({"a": "waiting"}, {"b": "waiting"}, {"c": "completed"})
    assert device("arm")[0] == "maintenance"


def test_a_device_whose_driver_failed_is_in_quarantine_until_somebody_has_looked(bench: Bench) -> None:
    job, other, elsewhere = (
        bench.job(S("a", {"arm": "use"})),
        bench.job(S("b", {"arm": "use"})),
        bench.job(S("c", {"eye": "use"})),
    )
    bench.turn()
    orders = {order.job_id: order for order in bench.host.claim()}
    bench.host.close(orders[str(job.id)], "failed", error="arm: no answer", broken={"arm": "did not answer"})
    bench.turn(10)
    assert device("arm") == ("error", "in quarantine: did not answer")
    bench.restart()
    bench.turn()
    assert (states(other), device("arm")[0]) == ({"b": "waiting"}, "error")
    bench.run_to_end(elsewhere)
    assert "note" in bench.request("clear_device", device="arm").refused
    assert bench.request("clear_device", device="arm", note="plugged in again").refused == ""
    assert "not in quarantine" in bench.request("clear_device", device="arm", note="again").refused
    bench.run_to_end(other)
    assert device("arm")[0] == "idle"


def test_what_is_run_by_hand_may_use_a_device_in_quarantine(bench: Bench) -> None:
    bench.scheduler.hosts.maintenance.quarantine(bench.scheduler.state.devices["arm"], "it squeaks")
    job = bench.job(S("a", {"arm": "use"}))
    models.Job.objects.filter(id=job.id).update(manual=True)
    bench.run_to_end(job)
    assert device("arm") == ("error", "in quarantine: it squeaks")


def test_locking_is_for_operators_of_it(bench: Bench) -> None:
    from django.core.exceptions import PermissionDenied

    arm = models.Device.objects.get(id="arm")
    eve = make_user("eve")
    for verb, arguments in ((maintenance.lock, (arm, "why")), (maintenance.clear, (arm, "note"))):
        with pytest.raises(PermissionDenied):
            verb(eve, *arguments)
    set_lab_role(eve, "operator", modules=["bench"])
    eve = type(eve).objects.get(pk=eve.pk)
    assert maintenance.lock(eve, arm, "why", wait_s=0).request.payload["target"] == "arm"
