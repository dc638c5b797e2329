"""Predictions: what is told about a job, that it is kept and scored, and that durations are learnt."""

from __future__ import annotations

import pytest

from scheduler import models
from scheduler.services.predictions import figures
from tests.scheduler.harness import Bench, S


def work(bench: Bench, job: models.Job, real_s: float) -> None:
    """Do a job's only step, in this time."""
    bench.turn()
    (order,) = bench.host.claim()
    bench.host.start(order)
    bench.turn(real_s)
    bench.host.close(order)
    bench.turn()
    job.refresh_from_db()
    assert job.state == "completed"


def test_a_job_is_told_ranges_when_it_comes_and_they_are_kept(bench: Bench) -> None:
    first, second = bench.job(S("a", {"arm": "use"})), bench.job(S("b", {"arm": "use"}))
    bench.turn()
    bench.turn()
    for job in (first, second):
        job.refresh_from_db()
        assert job.predicted_start_low_lab_s <= job.predicted_start_lab_s <= job.predicted_start_high_lab_s
        assert job.predicted_finish_low_lab_s < job.predicted_finish_lab_s < job.predicted_finish_high_lab_s
        kept = job.predictions.get()
        assert (kept.first, kept.made_lab_s) == (True, 100)
        assert kept.finish_high_lab_s == pytest.approx(job.predicted_finish_high_lab_s)
    width = [job.predicted_finish_high_lab_s - job.predicted_finish_low_lab_s for job in (first, second)]
    assert width[1] > width[0]


def test_a_prediction_that_is_far_off_is_made_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.process.predictions.AGAIN_S", 0.0)
    _, second = bench.job(S("a", {"arm": "use"})), bench.job(S("b", {"arm": "use"}))
    bench.turn()
    (order,) = bench.host.claim()
    bench.host.start(order)
    bench.turn(300)
    for _ in range(3):
        bench.scheduler.plan.notice_overruns(bench.clock.now())
        bench.scheduler.plan.wanted = True
        bench.turn()
    told = list(second.predictions.order_by("id"))
    assert [one.first for one in told] == [True, *[False] * (len(told) - 1)]
    assert len(told) >= 2
    assert told[-1].finish_lab_s > told[0].finish_high_lab_s


def test_durations_are_learnt_and_planned_with_also_after_a_restart(bench: Bench) -> None:
    for _ in range(5):
        work(bench, bench.job(S("a", {"arm": "use"})), 30)
    job = bench.job(S("a", {"arm": "use"}))
    bench.turn()
    job.refresh_from_db()
    assert job.predicted_finish_lab_s - job.predicted_start_lab_s == pytest.approx(30, rel=0.25)
    bench.restart()
    other = bench.job(S("a", {"arm": "use"}), S("b", {"eye": "use"}, task="act"))
    bench.turn()
    step = bench.scheduler.state.steps[str(other.steps.get(name="a").id)]
    assert step.learnt_s == pytest.approx(30, rel=0.25)
    assert bench.scheduler.state.steps[str(other.steps.get(name="b").id)].learnt_s is None


def test_what_happened_is_held_against_what_was_told(bench: Bench) -> None:
    for real_s in (10, 10, 10, 11, 9, 10):
        work(bench, bench.job(S("a", {"arm": "use"})), real_s)
    found = figures()
    assert found["jobs"]["finish"]["number"] == 6
    assert found["jobs"]["finish"]["coverage"] == 1.0
    assert found["tasks"]["bench.work"]["number"] == 6
    assert found["tasks"]["bench.work"]["median_abs_error_s"] == pytest.approx(0.0, abs=1.0)
    learnt = bench.scheduler.predictions.starts.scales, bench.scheduler.predictions.finishes.scales
    assert learnt != ((1.0, 1.0), (1.0, 1.0))
    bench.restart()
    again = bench.scheduler.predictions.starts.scales, bench.scheduler.predictions.finishes.scales
    assert again == (pytest.approx(learnt[0], rel=0.01), pytest.approx(learnt[1], rel=0.01))


def test_a_person_who_holds_a_job_does_not_count_against_us(bench: Bench) -> None:
    bench.host.devices["arm"] = "offline"
    bench.alive()
    job = bench.job(S("a", {"arm": "use"}))
    bench.turn()
    bench.turn()
    assert bench.request("hold", job, reason="later").refused == ""
    assert job.predictions.get().void
    bench.restart()
    assert bench.scheduler.state.jobs[str(job.id)].told is None
    assert figures()["jobs"]["finish"]["number"] == 0


def test_jobs_that_take_no_time_do_not_make_all_ranges_endless(bench: Bench) -> None:
    """What starts a moment late is many of its own half-widths late, and says nothing of a job of an hour."""
    for _ in range(8):
        work(bench, bench.job(S("a", {"arm": "use"}, duration_s=0.0, task="tidy_slot")), 0.08)
    job = bench.job(S("b", {"eye": "use"}, duration_s=3600.0))
    bench.turn()
    bench.turn()
    job.refresh_from_db()
    assert job.predicted_finish_high_lab_s - job.predicted_finish_lab_s < 4 * 3600
    assert figures()["jobs"]["start"]["coverage"] == 1.0
