"""Hold, release, pause, resume, stop, abort, halt: what becomes of steps, samples, places and the job."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command

from scheduler import models
from scheduler.services import requests, windows
from scheduler.services.requests import IllegalStateError
from tests.scheduler.harness import Bench, S, make_job, make_user, states
from tests.scheduler.test_failures import for_sample, step_through
from tests.scheduler.test_requests import controls
from users.services import deactivate, set_lab_role


def state(job: models.Job) -> str:
    job.refresh_from_db()
    return job.state


def running(bench: Bench, job: models.Job) -> object:
    """Let the first order of a job run."""
    bench.turn()
    (order,) = bench.host.claim()
    bench.host.start(order)
    bench.turn()
    return order


def ask(bench: Bench, verb: str, job: models.Job, reason: str = "") -> str:
    return bench.request(verb, job, reason=reason).refused


# --- hold


def test_a_held_job_starts_nothing_and_goes_on_when_released(bench: Bench) -> None:
    job = bench.job(*for_sample(0))
    assert ask(bench, "hold", job, "lunch") == ""
    assert (state(job), job.state_reason) == ("held", "lunch")
    bench.turn()
    assert bench.host.deliver() == []
    assert ask(bench, "release", job) == ""
    assert state(job) == "queued"
    bench.run_to_end(job)
    assert state(job) == "completed"


def test_hold_takes_back_what_nobody_has_claimed_and_lets_the_rest_end(bench: Bench) -> None:
    job = bench.job(*for_sample(0))
    bench.turn()
    orders = bench.host.deliver()
    ask(bench, "hold", job)
    assert bench.host.claim(orders) == []
    assert states(job)["put0"] == "waiting"
    ask(bench, "release", job)
    order = running(bench, job)
    ask(bench, "hold", job)
    bench.host.close(order)
    bench.turn(10)
    assert (state(job), states(job)["put0"], states(job)["work0"]) == ("held", "completed", "waiting")
    assert models.Place.objects.filter(sample__job=job).count() >= 1, "the vial keeps its slot"
    assert controls(bench) == []
    ask(bench, "release", job)
    assert state(job) == "running"
    bench.run_to_end(job)
    assert state(job) == "completed"


def test_a_job_whose_last_step_ends_while_it_is_held_is_complete(bench: Bench) -> None:
    job = bench.job(S("a", {"arm": "use"}))
    order = running(bench, job)
    ask(bench, "hold", job)
    bench.host.close(order)
    bench.turn(10)
    assert state(job) == "completed"


def test_other_jobs_pass_a_held_one(bench: Bench) -> None:
    held, other = bench.job(S("a", {"arm": "use"})), bench.job(S("b", {"arm": "use"}))
    ask(bench, "hold", held)
    bench.run_to_end(other)
    assert (state(held), state(other)) == ("held", "completed")


# --- pause


def test_pause_is_heard_by_what_runs_and_resume_lets_it_go_on(bench: Bench) -> None:
    job = bench.job(S("a", {"arm": "use"}, action="waits"), S("b", {"arm": "use"}, needs=["a"]))
    order = running(bench, job)
    assert ask(bench, "pause", job, "a visitor") == ""
    assert (state(job), states(job)["a"]) == ("paused", "pausing")
    bench.host._set(order, {"paused": True})
    bench.turn()
    assert states(job)["a"] == "paused"
    assert ask(bench, "pause", job) == "", "asking again changes nothing"
    assert controls(bench) == ["pause"]
    assert ask(bench, "resume", job) == ""
    bench.host._set(order, {"paused": False})
    bench.turn()
    assert (state(job), states(job)["a"]) == ("running", "running")
    assert sorted(controls(bench)) == ["pause", "resume"]
    bench.host.close(order)
    bench.run_to_end(job)
    assert state(job) == "completed"


def test_an_action_without_a_safe_point_runs_to_its_end_and_nothing_follows(bench: Bench) -> None:
    job = bench.job(S("a", {"arm": "use"}), S("b", {"arm": "use"}, needs=["a"]))
    order = running(bench, job)
    ask(bench, "pause", job)
    assert (controls(bench), states(job)["a"]) == ([], "running")
    bench.host.close(order)
    bench.turn(10)
    assert states(job) == {"a": "completed", "b": "waiting"}
    ask(bench, "resume", job)
    bench.run_to_end(job)


def test_dwell_times_go_on_while_a_job_is_paused(bench: Bench) -> None:
    job = bench.job(
        S("a", {"arm": "use"}),
        S("rest", standby=True, duration_s=60, needs=["a"]),
        S("b", {"arm": "use"}, needs=["rest"]),
    )
    order = running(bench, job)
    bench.host.close(order)
    bench.turn()
    ask(bench, "pause", job)
    bench.turn(100)
    assert states(job) == {"a": "completed", "rest": "completed", "b": "waiting"}


def test_a_pause_survives_the_scheduler(bench: Bench) -> None:
    job = bench.job(S("a", {"arm": "use"}, action="waits"), S("b", {"arm": "use"}, needs=["a"]))
    order = running(bench, job)
    ask(bench, "pause", job)
    bench.host._set(order, {"paused": True})
    bench.turn()
    bench.scheduler.rebuild()
    bench.alive()
    assert (state(job), states(job)["a"]) == ("paused", "paused")
    ask(bench, "resume", job)
    bench.host.close(order)
    bench.run_to_end(job)
    assert state(job) == "completed"


# --- the ends


def test_stop_keeps_what_was_done_and_is_a_success(bench: Bench) -> None:
    job = bench.job(*for_sample(0), *for_sample(1), samples=2)
    step_through(bench, "put0", lambda order: bench.host.close(order))
    assert ask(bench, "stop", job, "enough") == ""
    assert state(job) == "cancelling"
    assert set(controls(bench)) <= {"stop"}
    for order in [*bench.host.claim(), *list(bench.host.orders.values())]:
        if order.attempt_id in bench.host.orders:
            bench.host.close(order, reason="stopped by ada: enough")
    bench.run_to_end(job)
    assert (state(job), job.state_reason) == ("completed", "stopped by ada: enough")
    assert job.samples.get(index=0).state == "completed"
    assert job.samples_failed == 0
    assert not models.Place.objects.filter(resource="bench.slot").exclude(sample=None).exists()


def test_abort_cleans_up_and_names_who_and_why(bench: Bench) -> None:
    job = bench.job(*for_sample(0))
    order = running(bench, job)
    ask(bench, "abort", job, "wrong vial")
    assert (state(job), controls(bench)) == ("cancelling", ["abort"])
    assert ask(bench, "abort", job, "again") == ""
    assert controls(bench) == ["abort"]
    bench.host.close(order, "aborted", reason="ada: wrong vial")
    bench.run_to_end(job)
    assert (state(job), job.state_reason) == ("failed", "aborted by ada: wrong vial")
    assert (job.samples.get().state, states(job)["tidy0"]) == ("failed", "completed")
    assert job.ending == {"how": "abort", "actor": "ada", "reason": "wrong vial"}


def test_an_abort_that_waits_for_its_clean_up_survives_the_scheduler(bench: Bench) -> None:
    job = bench.job(*for_sample(0))
    order = running(bench, job)
    ask(bench, "abort", job)
    bench.scheduler.rebuild()
    bench.alive()
    assert set(controls(bench)) == {"abort"}
    bench.host.close(order, "aborted")
    bench.run_to_end(job)
    assert (state(job), states(job)["tidy0"]) == ("failed", "completed")


def test_halt_moves_nothing_any_more_and_asks_somebody_to_take_the_vial_out(bench: Bench) -> None:
    job = bench.job(*for_sample(0))
    order = running(bench, job)
    ask(bench, "halt", job, "it smokes")
    assert controls(bench) == ["halt"]
    bench.host.close(order, "aborted")
    bench.turn()
    assert bench.host.deliver() == []
    assert (state(job), states(job)["tidy0"]) == ("needs_operator", "waiting")
    assert "by hand" in job.state_reason
    bench.request("collect", job, sample=str(job.samples.get().id))
    assert (state(job), job.state_reason) == ("failed", "halted by ada: it smokes")


def test_halt_also_ends_a_clean_up_that_is_under_way(bench: Bench) -> None:
    job = bench.job(*for_sample(0))
    order = running(bench, job)
    ask(bench, "cancel", job)
    bench.host.close(order, "aborted")
    bench.turn()
    (tidy,) = bench.host.claim()
    bench.host.start(tidy)
    bench.turn()
    ask(bench, "halt", job)
    assert sorted(controls(bench)) == ["abort", "halt"]
    bench.host.close(tidy, "aborted")
    bench.turn()
    assert state(job) == "needs_operator"


@pytest.mark.parametrize("verb", ["stop", "abort", "halt", "cancel"])
def test_every_end_of_a_held_job_that_has_not_begun_leaves_nothing(bench: Bench, verb: str) -> None:
    job = bench.job(*for_sample(0))
    ask(bench, "hold", job)
    assert ask(bench, verb, job) == ""
    assert state(job) == {"stop": "cancelled", "cancel": "cancelled"}.get(verb, "failed")
    assert models.Stock.objects.get(id="vials").reserved == 0
    assert not models.Place.objects.exclude(sample=None).exists()


# --- what is refused, and who may


def test_what_is_not_legal_is_refused_with_the_state_and_what_is(bench: Bench) -> None:
    job = bench.job(S("a", {"arm": "use"}))
    refused = ask(bench, "pause", job)
    assert "queued" in refused
    assert "hold" in refused
    with pytest.raises(IllegalStateError) as caught:
        requests.control_job(bench.owner, job, "resume", wait_s=0)
    assert (caught.value.state, caught.value.legal) == ("queued", {"cancel", "change", "hold"})
    bench.run_to_end(job)
    job.refresh_from_db()
    with pytest.raises(IllegalStateError, match="nothing but rerun"):
        requests.control_job(bench.owner, job, "abort", wait_s=0)


def test_asking_twice_is_answered_by_what_was_asked_first(bench: Bench) -> None:
    job = bench.job(S("a", {"arm": "use"}))
    first = bench.request("hold", job)
    job.refresh_from_db()
    again = requests.control_job(bench.owner, job, "hold", wait_s=0)
    assert (again.applied, again.request.pk) == (True, first.pk)
    assert models.Request.objects.filter(job=job).count() == 1


def test_halting_is_for_those_who_operate_all_modules(bench: Bench) -> None:
    job = bench.job(S("a", {"arm": "use"}))
    assert not requests.may_control(bench.owner, job, "halt")
    set_lab_role(bench.owner, "operator", modules=["other"])
    assert not requests.may_control(type(bench.owner).objects.get(pk=bench.owner.pk), job, "halt")
    set_lab_role(bench.owner, "operator", modules=["bench", "other"])
    assert requests.may_control(type(bench.owner).objects.get(pk=bench.owner.pk), job, "halt")


def test_windows_that_waiting_would_break_are_named_beforehand(bench: Bench) -> None:
    job = bench.job(S("a", {"arm": "use"}), S("b", {"arm": "use"}, needs=[("a", 0.0, 30.0)]), S("c", needs=["b"]))
    bench.turn()
    assert windows.at_risk(job) != [], "it is ordered: it may run on"
    (order,) = bench.host.claim()
    bench.host.start(order)
    bench.host.devices["arm"] = "offline"
    bench.host.beat()
    bench.look()
    bench.clock.time_s += 10
    bench.host.close(order)
    bench.turn()
    (window,) = windows.at_risk(job)
    ended_s = job.steps.get(name="a").ended_lab_s
    assert (window.step.name, window.after.name, window.within_s) == ("b", "a", 30.0)
    assert window.latest_lab_s == pytest.approx(ended_s + 30)


def test_jobs_of_a_locked_account_are_held_once_and_what_has_begun_is_finished(bench: Bench) -> None:
    begun = bench.job(S("a", {"arm": "use"}), S("b", {"arm": "use"}, needs=["a"]))
    bench.turn()
    bench.host.start(*bench.host.claim())
    bench.turn()
    waiting = bench.job(S("a", {"pump": "use"}, needs=[]), S("b", {"arm": "use"}, needs=["a"]))
    other = make_job(make_user("ben"), [S("a", {"arm": "use"})], manifest=bench.host.manifest)
    models.Device.objects.filter(id="pump").update(quarantine="looked at")
    bench.restart()
    deactivate(bench.owner)
    bench.scheduler.absent._next_s = 0.0
    bench.look()
    rows = {job.pk: job for job in models.Job.objects.all()}
    assert [rows[job.pk].state for job in (begun, waiting, other)] == ["running", "held", "queued"]
    assert rows[waiting.pk].state_reason.startswith("the account of ada is locked; an admin of the project may release")
    admin = make_user("eve")
    release = models.Request.objects.create(verb="release", actor=admin, job=waiting, payload={})
    bench.turn()
    release.refresh_from_db()
    assert release.refused == ""
    for again in (False, True):
        if again:
            bench.restart()
        bench.scheduler.absent._next_s = 0.0
        bench.look()
        waiting.refresh_from_db()
        assert waiting.state == "queued", "whoever released it answers for it"
    models.Device.objects.filter(id="pump").update(quarantine="")
    bench.restart()
    bench.run_to_end(begun, waiting, other)
    assert set(models.Job.objects.values_list("state", flat=True)) == {"completed"}


def test_an_admin_decides_at_the_command_line_about_jobs_that_nobody_else_sees(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.management.commands.jobs_of.WAIT_S", 0.0)
    begun, held = (bench.job(S("a", {"arm": "use"}), name=name) for name in ("begun", "held"))
    bench.turn()
    [order] = bench.host.claim()
    bench.host.start(order)
    bench.turn()
    assert bench.request("hold", held).refused == ""
    deactivate(bench.owner)
    admin = make_user("eve")
    for words in (["ada", "--release"], ["ada", "--release", "--by", "eve"], ["nobody"]):
        with pytest.raises(CommandError):
            call_command("jobs_of", *words)
    set_lab_role(admin, "admin")
    call_command("jobs_of", "ada")
    listed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert listed == [[str(begun.pk), "running", "begun"], [str(held.pk), "held", "held"]]
    call_command("jobs_of", "ada", "--release", "--by", "eve")
    assert "begun: left as it is" in capsys.readouterr().out
    bench.turn()
    held.refresh_from_db()
    assert held.state == "queued"
    call_command("jobs_of", "ada", "--cancel", "--by", "eve")
    bench.turn()
    held.refresh_from_db()
    assert (held.state, held.state_reason) == ("cancelled", "cancelled by eve: in place of ada")


def test_what_a_held_job_kept_waiting_goes_on_at_once_when_it_is_cancelled(bench: Bench) -> None:
    """Even if the plan is not repaired in between: nothing else would wake it."""
    job = bench.job(
        S("a", {"arm": "use"}, takes=["slot"]),
        S("b", {"arm": "use"}, needs=["a"], frees=["slot"]),
        S("tidy", {"arm": "use"}, frees=["slot"], task="tidy_slot", cleanup=True),
    )
    bench.turn()
    [order] = bench.host.claim()
    bench.host.start(order)
    bench.turn()
    assert bench.request("hold", job).refused == ""
    bench.host.close(order, "failed", error="it fell")
    bench.turn()
    bench.turn(5)
    assert states(job) == {"a": "failed", "b": "skipped", "tidy": "waiting"}
    bench.scheduler.plan._repaired_s = float("inf")
    assert bench.request("cancel", job).refused == ""
    assert states(job)["tidy"] == "dispatched"
