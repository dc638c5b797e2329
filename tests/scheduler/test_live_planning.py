"""The plan of a lab that does not stand still: avoidable breaches, submits that wait for nothing, versions."""

from __future__ import annotations

import time

import pytest

from scheduler import models
from scheduler.planning.validate import validate
from scheduler.process import choice
from scheduler.process.problem import TICK_S, make_problem
from scheduler.process.shares import BEGUN
from scheduler.services.versions import newest
from tests.scheduler.harness import Bench, S, make_job, make_user

OVERRUN = {"slow": 105.0}
"""Name of a step → how long it really takes (lab seconds)."""


def run(bench: Bench, *jobs: models.Job, turns: int = 120) -> None:
    """Let the host do everything, some steps more slowly than planned, looking every five lab seconds."""
    ends: dict[str, float] = {}
    names = {str(pk): name for pk, name in models.Step.objects.values_list("id", "name")}
    for _ in range(turns):
        bench.host.beat()
        bench.turn(5)
        bench.scheduler.plan._repaired_s = 0.0
        bench.scheduler.plan.notice_overruns(bench.clock.now())
        for order in bench.host.claim():
            bench.host.start(order)
            length_s = sum(OVERRUN.get(names[step.step_id], step.duration_s) for step in order.steps)
            ends[order.attempt_id] = bench.clock.now() + length_s
        for order in list(bench.host.orders.values()):
            if ends[order.attempt_id] <= bench.clock.now():
                bench.host.close(order)
        if not models.Job.objects.filter(pk__in=[job.pk for job in jobs]).exclude(state="completed").exists():
            return
    raise AssertionError(list(models.Step.objects.values_list("name", "state", "reason")))


def overrun(bench: Bench) -> list[models.Job]:
    """A window is open when the one before it on the device comes late: in the plan's order the window breaks."""
    slow = bench.job(S("slow", {"pump": "use"}, duration_s=50), S("long", {"eye": "use"}, 60.0, needs=["slow"]))
    bench.turn()
    tight = bench.job(S("make", {"arm": "use"}, 95.0), S("see", {"eye": "use"}, 20.0, needs=[("make", 0, 5)]))
    bench.turn()
    run(bench, slow, tight)
    return [slow, tight]


def breached() -> bool:
    return models.Event.objects.filter(reason__contains="later than allowed").exists()


def test_a_breach_that_can_be_avoided_is_avoided(bench: Bench) -> None:
    overrun(bench)
    assert not breached()


def test_without_looking_for_it_the_window_breaks(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "MEND_S", 0.0)
    overrun(bench)
    assert breached(), "or the test above shows nothing"


def test_nobody_who_submits_waits_for_a_plan_of_everything(bench: Bench) -> None:
    flood = [bench.job(S("a", {"arm": "use"}, duration_s=600.0)) for _ in range(6)]
    bench.turn()
    plan = bench.scheduler.plan
    plan.cost_s, plan._repaired_s = 10.0, time.monotonic()
    before = models.PlanVersion.objects.filter(method="repair").count()
    light = make_job(make_user("light"), [S("a", {"arm": "use"}, duration_s=600.0)], name="light")
    bench.turn()
    light.refresh_from_db()
    assert light.placed
    assert light.predicted_start_lab_s is None, "it will stand somewhere else"
    assert models.PlanVersion.objects.filter(method="repair").count() == before
    plan.cost_s = 0.0
    bench.turn()
    bench.turn()
    light.refresh_from_db()
    flood[-1].refresh_from_db()
    assert light.predicted_start_lab_s is not None
    assert flood[-1].predicted_start_lab_s is not None
    assert light.predicted_start_lab_s < flood[-1].predicted_start_lab_s


def test_every_version_says_how_good_it_is(bench: Bench) -> None:
    for number in range(4):
        bench.job(S("a", {"arm": "use"}, duration_s=100.0 + number), S("b", {"eye": "use"}, needs=["a"]))
        bench.turn()
    bench.turn(400)
    bench.scheduler.plan._repaired_s = 0.0
    bench.turn()
    rows = newest(bench.owner, 20)
    assert {row["method"] for row in rows} == {"insert", "repair"}
    for row in rows:
        assert 0 <= row["gap"] < 1
        assert 0 < row["bound_s"] <= row["objective"]["weighted_flow_s"]
    first = rows[-1]
    assert first["gap"] == 0, "alone in the lab nothing is better"


def test_a_large_plan_is_predicted_in_slices(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.process.predictions.SLICE_S", 0.0)
    monkeypatch.setattr("scheduler.process.predictions.BUNCH", 1)
    jobs = [bench.job(S("a", {"arm": "use"}, duration_s=100.0)) for _ in range(5)]
    bench.turn()
    predictions = bench.scheduler.plan.predictions
    predictions.refresh(bench.clock.now())
    assert predictions.under_way
    assert bench.scheduler.sleep_s() == 0.0
    late = bench.job(S("a", {"arm": "use"}, duration_s=100.0))
    for _ in range(60):
        bench.turn()
    assert not predictions.under_way
    for job in (*jobs, late):
        live = bench.scheduler.state.jobs[str(job.pk)]
        assert live.finish_range is not None
        assert live.finish_range[0] <= live.predicted_finish_s <= live.finish_range[1]  # type: ignore[operator]


def test_what_hardly_moves_far_ahead_is_not_written_again(bench: Bench) -> None:
    jobs = [bench.job(S("a", {"arm": "use"}, duration_s=6000.0)) for _ in range(4)]
    bench.turn()
    for order in bench.host.claim():
        bench.host.start(order)
    bench.turn(6003)
    for order in list(bench.host.orders.values()):
        bench.host.close(order)
    for _ in range(3):
        bench.scheduler.plan._repaired_s = 0.0
        bench.turn()
    told = [job.steps.get().planned_start_lab_s for job in jobs]
    live = [bench.scheduler.state.steps[str(job.steps.get().pk)].planned_start_s for job in jobs[1:]]
    assert live[-1] == pytest.approx(told[-1] + 3, abs=0.2), "three seconds in three hours"
    assert live[0] == pytest.approx(told[1], abs=0.2), "what is next is told as it is"


def test_the_steps_of_a_running_block_are_planned_one_after_the_other(bench: Bench) -> None:
    """A block is one claim: it has all its devices until its end, and nobody is told that they are free before."""
    block = bench.job(
        S("load", {"arm": "use"}, duration_s=10.0),
        S("see", {"eye": "use"}, duration_s=100.0, needs=[("load", 0, 0)], block="load"),
        S("unload", {"arm": "use"}, duration_s=10.0, needs=[("see", 0, 0)], block="load"),
    )
    bench.turn()
    for order in bench.host.claim():
        bench.host.start(order)
    bench.turn(5)
    other = bench.job(S("move", {"arm": "use"}, duration_s=10.0))
    for _ in range(3):
        bench.scheduler.plan.mark_stale()
        bench.scheduler.plan._repaired_s = 0.0
        bench.turn()
    began_s = block.steps.get(name="load").started_lab_s
    assert began_s is not None
    other.refresh_from_db()
    assert other.predicted_start_lab_s == pytest.approx(began_s + 120, abs=0.1)
    problem = make_problem(bench.scheduler.state, bench.clock.now())
    validate(problem)
    spans = {item.step: (item.start * TICK_S, item.end * TICK_S) for item in problem.fixed}
    ids = {step.name: str(step.pk) for step in block.steps.all()}
    assert spans[ids["see"]] == pytest.approx((began_s + 10, began_s + 110), abs=0.1)
    assert spans[ids["unload"]] == pytest.approx((began_s + 110, began_s + 120), abs=0.1)
    ends = bench.scheduler.predictions._forecast.ends[ids["unload"]]
    assert sum(ends) / len(ends) == pytest.approx(began_s + 120, rel=0.2)
    bench.turn(140)
    problem = make_problem(bench.scheduler.state, bench.clock.now())
    validate(problem)
    last = next(item for item in problem.fixed if item.step == ids["unload"])
    assert last.end > problem.now, "late, but not over"


def test_work_that_has_begun_counts_whoever_s_it_is(bench: Bench) -> None:
    """Else a flood's jobs, worth little, would all be begun and none finished."""
    for _ in range(8):
        bench.job(S("a", {"arm": "use"}, duration_s=3600.0), S("b", {"eye": "use"}, duration_s=3600.0, needs=["a"]))
    bench.turn()
    for order in bench.host.claim():
        bench.host.start(order)
    bench.turn(5)
    bench.scheduler.shares.rank(bench.clock.now())
    weights = {job.started_s is None: job.plan_weight for job in bench.scheduler.state.jobs.values()}
    assert weights[False] == BEGUN
    assert min(job.plan_weight for job in bench.scheduler.state.jobs.values()) < BEGUN


def test_a_whole_plan_is_written_in_parts_the_next_steps_first(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.process.loop.MOST_MOVES", 2)
    monkeypatch.setattr("scheduler.process.loop.MOVES_WRITTEN_S", 0.0)
    jobs = [bench.job(S("a", {"arm": "use"}, duration_s=100.0)) for _ in range(5)]
    bench.turn()
    starts = [job.steps.get().planned_start_lab_s for job in jobs]
    assert sorted(start is None for start in starts) == [False, False, True, True, True]
    assert min(start for start in starts if start is not None) == 100
    bench.turn()
    bench.turn()
    starts = sorted(job.steps.get().planned_start_lab_s for job in jobs)
    assert starts == pytest.approx([100, 200, 300, 400, 500], abs=1)
    assert [row["steps_added"] for row in newest(bench.owner, 5)] == [1, 2, 2]
