"""Whatever happens, the plan follows: each event is answered by a new version with true times."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from scheduler import models
from scheduler.process.choice import worth_it
from scheduler.process.improve import Improver
from scheduler.services.versions import newest
from tests.scheduler.harness import Bench, S, make_user, states, wait_until


def due(job: models.Job) -> float:
    job.refresh_from_db()
    assert job.predicted_start_lab_s is not None
    return float(job.predicted_start_lab_s)


def late(bench: Bench, job: models.Job) -> None:
    bench.turn(250)
    bench.host.close(next(iter(bench.host.orders.values())))


def early(bench: Bench, job: models.Job) -> None:
    bench.turn(5)
    bench.host.close(next(iter(bench.host.orders.values())))


def failed(bench: Bench, job: models.Job) -> None:
    bench.turn(5)
    bench.host.close(next(iter(bench.host.orders.values())), "failed", error="it broke")


def lost(bench: Bench, job: models.Job) -> None:
    bench.host.devices["arm"] = "offline"
    bench.alive()


def back(bench: Bench, job: models.Job) -> None:
    lost(bench, job)
    bench.turn()
    bench.turn()
    assert due(job) >= 3600
    bench.host.devices["arm"] = "idle"
    bench.alive()


def locked(bench: Bench, job: models.Job) -> None:
    assert bench.request("lock", kind="device", target="arm", reason="service").refused == ""


def first(bench: Bench, job: models.Job) -> None:
    assert bench.request("change", job, priority=10).refused == ""


def held(bench: Bench, job: models.Job) -> None:
    ahead = models.Job.objects.get(name="between")
    assert bench.request("hold", ahead, reason="wait").refused == ""


def empty(bench: Bench, job: models.Job) -> None:
    assert bench.request("refill", stock="vials", level=0.0).refused == ""


def refilled(bench: Bench, job: models.Job) -> None:
    empty(bench, job)
    bench.turn()
    bench.turn()
    assert due(job) >= 3600
    assert bench.request("refill", stock="vials", level=10.0).refused == ""


@pytest.mark.parametrize(
    ("event", "check"),
    [
        (late, lambda before, now: now > before + 100),
        (early, lambda before, now: now < before - 50),
        (failed, lambda before, now: now < before - 50),
        (lost, lambda before, now: now > before + 3000),
        (back, lambda before, now: now < 3600),
        (locked, lambda before, now: now > before + 3000),
        (first, lambda before, now: now < before - 50),
        (held, lambda before, now: now < before - 50),
        (empty, lambda before, now: now > before + 3000),
        (refilled, lambda before, now: now < 3600),
    ],
)
def test_an_event_is_answered_by_a_new_plan(
    bench: Bench, event: Callable[[Bench, models.Job], None], check: Callable[[float, float], bool]
) -> None:
    bench.job(S("a", {"arm": "use"}, duration_s=100), name="running")
    bench.turn()
    (order,) = bench.host.claim()
    bench.host.start(order)
    bench.job(S("b", {"arm": "use"}, duration_s=100), name="between")
    bench.turn()
    job = bench.job(S("c", {"arm": "use"}, duration_s=100, consumes={"vials": 2}), name="last")
    bench.turn()
    bench.turn()
    before, version = due(job), models.Leader.objects.get().plan_version
    event(bench, job)
    for _ in range(3):
        bench.turn()
        bench.scheduler.plan._repaired_s = 0.0
    assert check(before, due(job)), (before, due(job))
    rows = models.PlanVersion.objects.filter(version__gt=version)
    assert "repair" in set(rows.values_list("method", flat=True))


def test_versions_say_what_they_changed_without_naming_others_work(bench: Bench) -> None:
    bench.job(S("a", {"arm": "use"}, duration_s=100))
    bench.turn()
    (order,) = bench.host.claim()
    bench.host.start(order)
    bench.job(S("b", {"arm": "use"}, duration_s=100), name="my mixing")
    bench.turn()
    bench.turn()
    added = newest(bench.owner, 1)[0]
    assert (added["method"], added["sentence"]) == ("insert", "1 added")
    assert list(added["weights"].values()) == [1] or len(added["weights"]) == 1
    bench.turn(340)
    bench.host.close(order)
    for _ in range(3):
        bench.turn()
        bench.scheduler.plan._repaired_s = 0.0
    said = [row["sentence"] for row in newest(bench.owner, 10) if row["method"] == "repair"]
    assert any("worst +4 min for job “my mixing”" in one for one in said), said
    hidden = [row["sentence"] for row in newest(make_user("eve"), 10) if row["method"] == "repair"]
    assert any("worst +4 min for another user's job" in one for one in hidden), hidden
    assert not any(row["weights"] for row in newest(make_user("mallory"), 10))


def test_a_step_out_of_stock_waits_for_its_refill(bench: Bench) -> None:
    job = bench.job(S("a", {"arm": "use"}, consumes={"vials": 2}))
    models.Stock.objects.update(level=1.0)
    bench.restart()
    bench.turn()
    assert states(job) == {"a": "waiting"}
    assert bench.request("refill", stock="vials", amount=5.0).refused == ""
    bench.turn()
    assert states(job) == {"a": "dispatched"}


def test_what_opens_a_window_waits_until_all_of_its_devices_are_well(bench: Bench) -> None:
    bench.host.devices["eye"] = "error"
    bench.alive()
    chain = bench.job(
        S("make", {"arm": "use"}),
        S("wash", {"pump": "use"}, needs=[("make", 0, 30)]),
        S("see", {"eye": "use"}, needs=[("wash", 0, 30)]),
    )
    for _ in range(5):
        bench.turn(1)
    assert states(chain)["make"] == "waiting"
    bench.host.devices["eye"] = "idle"
    bench.alive()
    bench.run_to_end(chain)


@pytest.mark.parametrize(
    ("before", "after", "worth"),
    [
        ((0, 0, 1000, 500, 0), (0, 0, 999, 500, 0), True),
        ((0, 0, 1000, 500, 0), (0, 0, 999, 500, 60), False),
        ((0, 0, 1000, 500, 0), (0, 0, 990, 500, 60), True),
        ((0, 9, 1000, 500, 0), (0, 0, 1200, 500, 60), True),
        ((0, 0, 1000, 500, 0), (0, 0, 1000, 500, 0), False),
    ],
)
def test_what_is_imminent_moves_only_for_a_gain(before: tuple[int, ...], after: tuple[int, ...], worth: bool) -> None:
    assert worth_it(before, after) is worth


def test_the_planner_child_judges_the_version_that_it_was_offered(bench: Bench) -> None:
    for _ in range(3):
        bench.job(S("a", {"arm": "use"}, duration_s=100))
        bench.turn()
    bench.turn()
    scheduler = bench.scheduler
    scheduler.improver = Improver(lambda: None)

    def judged() -> bool:
        bench.turn()
        return models.PlanVersion.objects.exclude(gap=None).exists()

    wait_until(judged, 60)
    version = next(row for row in newest(bench.owner, 10) if row["gap"] is not None)
    assert version["objective"]["broken_rules"] == 0
    assert 0 < version["bound_s"] <= version["objective"]["weighted_flow_s"]
    assert 0 <= version["gap"] < 1
