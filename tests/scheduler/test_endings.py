"""What ends a setting: when nobody holds it any more, it is switched off; not before, and not twice."""

from __future__ import annotations

from scheduler import models
from tests.scheduler.harness import Bench, S, states

KEY = "oven.heat"


def bake(bench: Bench, value: float = 60.0, action: str = "safe", **fields: object) -> models.Job:
    """Insert a job that holds the oven's heat over two steps; its end is dormant."""
    return bench.job(
        S("heat", {"oven": "use"}, settings={KEY: value}),
        S("dwell", standby=True, duration_s=50, needs=["heat"], settings={KEY: value}),
        S("off", {"oven": "use"}, duration_s=2, samples=None, cleanup=True, key=f"ends {KEY}", action=action),
        **fields,
    )


def ordered(bench: Bench) -> list[str]:
    """Let the host do what is ordered now; return the names of the steps."""
    done = []
    for order in bench.host.claim():
        done += [step.name for step in order.steps]
        bench.host.close(order)
    return done


def test_it_is_switched_off_after_the_last_step_that_needs_it(bench: Bench) -> None:
    job = bake(bench)
    bench.turn()
    assert ordered(bench) == ["heat"]
    bench.turn(10)
    assert (ordered(bench), states(job)["dwell"]) == ([], "running")
    bench.turn(50)
    assert ordered(bench) == ["off"]
    bench.turn()
    job.refresh_from_db()
    assert (job.state, job.steps_done, job.steps_total) == ("completed", 3, 3)


def test_as_long_as_another_job_holds_it_it_stays_on(bench: Bench) -> None:
    first, second = bake(bench), bake(bench)
    bench.turn()
    assert ordered(bench) == ["heat"]
    bench.turn(30)
    assert ordered(bench) == ["heat"]
    bench.turn(25)
    assert ordered(bench) == [], "the first dwell is over, the second is not"
    first.refresh_from_db()
    assert first.state == "completed"
    bench.turn(40)
    assert ordered(bench) == ["off"]
    bench.turn()
    second.refresh_from_db()
    assert second.state == "completed"
    assert [bool(job.steps.get(name="off").dormant) for job in (first, second)] == [True, False]


def test_who_needs_it_again_in_time_takes_the_end_back(bench: Bench) -> None:
    first = bake(bench)
    bench.turn()
    ordered(bench)
    bench.turn(10)
    bench.host.devices["oven"] = "offline"
    bench.alive()
    bench.turn(55)
    assert states(first)["off"] == "waiting"
    assert not first.steps.get(name="off").dormant
    # The next one wants the oven too, and stands before the end in no plan.
    second = bake(bench)
    models.Step.objects.filter(job=second).update(devices={})
    bench.restart()
    bench.turn()
    assert "heat" in ordered(bench)
    bench.turn()
    first.refresh_from_db()
    assert (first.state, first.steps.get(name="off").dormant) == ("completed", True)
    bench.host.devices["oven"] = "idle"
    bench.alive()
    bench.turn(60)
    assert ordered(bench) == ["off"]


def test_an_abort_switches_it_off(bench: Bench) -> None:
    job = bake(bench)
    bench.turn()
    ordered(bench)
    bench.turn(10)
    bench.request("abort", job)
    assert ordered(bench) == ["off"]
    bench.turn()
    job.refresh_from_db()
    assert job.state == "failed"


def test_a_halt_sends_no_command_any_more(bench: Bench) -> None:
    job = bake(bench)
    bench.turn()
    ordered(bench)
    bench.turn(10)
    bench.request("halt", job)
    assert ordered(bench) == []
    job.refresh_from_db()
    assert job.state == "failed"


def test_a_lost_sample_switches_it_off_and_the_job_is_still_failed(bench: Bench) -> None:
    job = bench.job(
        S("heat", {"oven": "use"}, settings={KEY: 60}),
        S("work", {"arm": "use"}, needs=["heat"], settings={KEY: 60}),
        S("off", {"oven": "use"}, samples=None, cleanup=True, key=f"ends {KEY}"),
    )
    bench.turn()
    ordered(bench)
    bench.turn()
    [order] = bench.host.claim()
    bench.host.close(order, "failed", error="it fell")
    bench.turn()
    assert ordered(bench) == ["off"]
    bench.restart()
    bench.turn()
    job.refresh_from_db()
    assert (job.state, job.samples_failed) == ("failed", 1)


def test_a_switch_off_that_fails_is_tried_again_and_then_left_to_an_operator(bench: Bench) -> None:
    job = bake(bench)
    bench.turn()
    ordered(bench)
    bench.turn(10)
    bench.turn(50)
    for attempt in range(1, 4):
        bench.turn(30)
        [order] = bench.host.claim()
        assert order.attempt_id.endswith(f"/{attempt}")
        bench.host.close(order, "failed", error="the line was noisy")
        bench.turn()
    bench.turn(600)
    job.refresh_from_db()
    assert (job.state, bench.host.claim()) == ("needs_operator", [])
    assert "failed (attempt 3): the line was noisy" in job.steps.get(name="off").reason
    bench.host.restart()
    bench.alive()
    step = str(job.steps.get(name="off").pk)
    assert bench.request("decide", job, step=step, decision="repeat", note="the line is quiet now").refused == ""
    bench.turn(60)
    assert ordered(bench) == ["off"]
    bench.turn()
    job.refresh_from_db()
    assert job.state == "completed"


def test_a_failed_switch_off_outlives_the_scheduler_and_the_end_of_the_job_s_wishes(bench: Bench) -> None:
    job = bake(bench)
    bench.turn()
    ordered(bench)
    bench.turn(10)
    bench.request("cancel", job)
    [order] = bench.host.claim()
    bench.restart()
    bench.host.close(order, "failed", error="the line was noisy")
    bench.turn()
    bench.restart()
    bench.turn(30)
    assert ordered(bench) == ["off"]
    bench.turn()
    job.refresh_from_db()
    assert (job.state, job.steps.get(name="off").failures) == ("cancelled", 1)


def test_nobody_takes_it_while_it_is_switched_off(bench: Bench) -> None:
    first = bake(bench)
    bench.turn()
    ordered(bench)
    bench.turn(10)
    bench.turn(50)
    [off] = bench.host.claim()
    bench.host.start(off)
    # It needs the heat, and nothing else that is taken.
    second = bench.job(
        S("carry", {"arm": "use"}, settings={KEY: 60.0}),
        S("off", {"oven": "use"}, duration_s=2, samples=None, cleanup=True, key=f"ends {KEY}"),
    )
    bench.turn()
    bench.turn()
    assert (ordered(bench), states(second)["carry"]) == ([], "waiting")
    bench.host.close(off)
    bench.turn()
    assert ordered(bench) == ["carry"]
    bench.turn()
    assert ordered(bench) == ["off"]
    bench.turn()
    assert [job.state for job in models.Job.objects.filter(pk__in=[first.pk, second.pk])] == ["completed"] * 2


def test_what_is_off_is_not_switched_off_again(bench: Bench) -> None:
    bench.run_to_end(bake(bench))
    job = bake(bench)
    bench.turn()
    [order] = bench.host.claim()
    assert [step.name for step in order.steps] == ["heat"]
    bench.host.close(order, "failed", error="no answer", touched=False)
    bench.turn()
    bench.turn()
    assert ordered(bench) == []
    job.refresh_from_db()
    assert job.state == "failed"


def test_a_job_on_hold_does_not_keep_it_on(bench: Bench) -> None:
    job = bake(bench)
    bench.turn()
    ordered(bench)
    bench.turn(10)
    bench.request("hold", job)
    bench.turn(50)
    assert ordered(bench) == ["off"]
    bench.turn()
    job.refresh_from_db()
    assert job.state == "completed"


def test_a_switch_off_that_may_not_be_repeated_is_left_to_an_operator(bench: Bench) -> None:
    job = bake(bench, action="run")
    bench.turn()
    ordered(bench)
    bench.turn(10)
    bench.turn(50)
    [order] = bench.host.claim()
    bench.host.close(order, "failed", error="the line was noisy")
    bench.turn()
    job.refresh_from_db()
    assert job.state == "needs_operator"
    assert bench.scheduler.state.devices["oven"].state == "unknown"
    step = str(job.steps.get(name="off").pk)
    assert bench.request("decide", job, step=step, decision="failed", note="I pulled the plug").refused == ""
    job.refresh_from_db()
    assert (job.state, ordered(bench)) == ("completed", [])
