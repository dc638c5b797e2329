"""Closed loops: what is expected is planned, and holds up nobody."""

from __future__ import annotations

import pytest

from scheduler import models
from scheduler.api.bars import planned
from scheduler.planning.checker import check
from scheduler.planning.plan import Plan
from scheduler.planning.validate import validate
from scheduler.process.problem import make_problem
from tests.scheduler.harness import Bench, S, make_user
from tests.scheduler.test_why import ask

LOOP = (
    S("make", {"arm": "use"}, duration_s=100, takes=["slot"]),
    S("see", {"eye": "use"}, duration_s=50, needs=[("make", 0, 60)], frees=["slot"]),
)


def loop(bench: Bench, cycles: int) -> models.Job:
    job = bench.job(*LOOP, name="loop")
    models.Job.objects.filter(pk=job.pk).update(spec={"format": 1, "expects": cycles})
    return job


def test_others_see_times_behind_the_cycles_that_will_come(bench: Bench) -> None:
    first = loop(bench, 2)
    bench.turn()
    other = bench.job(S("a", {"arm": "use"}, duration_s=80))
    bench.turn()
    bench.turn()
    first.refresh_from_db()
    other.refresh_from_db()
    # The cycles take the arm from 100, 250 and 400 for 100 s each; in between is no room for 80 s.
    assert first.predicted_finish_lab_s == pytest.approx(250, abs=1)
    assert other.predicted_start_lab_s == pytest.approx(500, abs=1)
    assert first.steps.count() == 2
    scheduler = bench.scheduler
    problem, plan = scheduler.plan.present(bench.clock.now())
    validate(problem)
    assert len(plan.starts) == 7
    assert [v for v in check(problem, plan) if v.hard] == []
    assert ask(bench, other)["holder_job"] == str(first.id)


def test_what_is_only_expected_holds_up_nobody(bench: Bench) -> None:
    first = loop(bench, 2)
    bench.turn()
    other = bench.job(S("a", {"arm": "use"}, duration_s=80))
    bench.turn()
    bench.run_to_end(first, other)
    other.refresh_from_db()
    assert other.started_lab_s <= 210


def test_placeholders_go_with_their_job_and_survive_repairs(bench: Bench) -> None:
    first = loop(bench, 3)
    bench.turn()
    scheduler = bench.scheduler
    scheduler.plan.repair(bench.clock.now())
    assert len(list(make_problem(scheduler.state, bench.clock.now()).steps())) == 8
    found = scheduler.plan.snapshot(bench.clock.now())
    assert found is not None
    problem, plan = found
    assert isinstance(plan, Plan)
    assert [v for v in check(problem, plan) if v.hard] == []
    assert bench.request("cancel", first).refused == ""
    for _ in range(3):
        bench.turn()
        for order in bench.host.claim():
            bench.host.start(order)
        for order in list(bench.host.orders.values()):
            bench.host.close(order, "aborted")
    other = bench.job(S("a", {"arm": "use"}, duration_s=80))
    bench.turn()
    scheduler.plan.repair(bench.clock.now())
    bench.turn()
    other.refresh_from_db()
    assert other.predicted_start_lab_s <= 210


def test_the_next_cycles_are_seen_in_the_plan_and_not_by_everybody(bench: Bench) -> None:
    first = loop(bench, 2)
    models.Job.objects.filter(pk=first.pk).update(campaign="silver")
    bench.turn()
    mine = [bar for bar in planned(bench.owner) if bar.get("expected")]
    assert [bar["name"] for bar in mine] == ["next cycle of campaign silver"] * 2 + [
        "2 cycles ahead of campaign silver"
    ] * 2
    assert [list(bar["devices"]) for bar in mine] == [["arm"], ["eye"], ["arm"], ["eye"]]
    assert [bar["start"]["lab_s"] for bar in mine] == pytest.approx([250, 350, 400, 500], abs=1)
    assert {bar["job"] for bar in mine} == {first.pk}
    theirs = [bar for bar in planned(make_user("eve")) if bar.get("expected")]
    assert [set(bar) for bar in theirs] == [{"busy", "devices", "start", "end", "expected"}] * 4
    assert all(bar["busy"] for bar in theirs)
    assert len([bar for bar in planned(bench.owner, end=300.0) if bar.get("expected")]) == 1
    bench.run_to_end(first)
    assert not [bar for bar in planned(bench.owner) if bar.get("expected")]
