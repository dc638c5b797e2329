"""Windows that break where the job says `on_breach: ask`: an operator decides before the step starts."""

from __future__ import annotations

import pytest

from scheduler import models
from scheduler.services import requests
from scheduler.services.requests import IllegalStateError
from tests.scheduler.harness import Bench, S, make_user, states
from users.services import set_lab_role

STEPS = (
    S("a", {"arm": "use"}),
    S("b", {"pump": "use"}, needs=[("a", 0.0, 20.0)]),
    S("a1", {"eye": "use"}, samples=[1]),
)


def late_job(bench: Bench) -> models.Job:
    """Return a job whose second step cannot start within its window, because the pump is away."""
    job = bench.job(*STEPS, samples=2)
    step = job.steps.get(name="b")
    step.needs[0]["on_breach"] = "ask"
    step.save()
    bench.turn()
    for order in bench.host.claim():
        bench.host.start(order)
    bench.host.devices["pump"] = "offline"
    bench.turn(10)
    for order in list(bench.host.orders.values()):
        bench.host.close(order)
    bench.alive()
    bench.turn(15)
    assert job.steps.get(name="b").question is None, "there is time yet"
    bench.turn(10)
    bench.turn()
    job.refresh_from_db()
    return job


def decide(bench: Bench, job: models.Job, decision: str) -> None:
    operator = make_user("olaf")
    set_lab_role(operator, "operator", ["bench"])
    requests.decide(operator, job.steps.get(name="b"), decision, "looked at it", wait_s=0)
    bench.turn()
    job.refresh_from_db()


def test_a_step_that_would_start_too_late_waits_and_says_why(bench: Bench) -> None:
    job = late_job(bench)
    step = job.steps.get(name="b")
    assert (job.state, step.state) == ("needs_operator", "waiting")
    assert step.question["what"] == "breach"
    assert "too late" in step.reason
    assert requests.late_steps() == [step]
    bench.host.devices["pump"] = "idle"
    bench.alive()
    bench.turn(5)
    assert states(job)["b"] == "waiting", "free devices do not answer the question"
    bench.restart()
    bench.turn()
    assert states(job)["b"] == "waiting"
    with pytest.raises(IllegalStateError):
        decide(bench, job, "repeat")


def test_continue_starts_it_all_the_same(bench: Bench) -> None:
    job = late_job(bench)
    decide(bench, job, "continue")
    assert job.state == "running"
    bench.host.devices["pump"] = "idle"
    bench.alive()
    bench.run_to_end(job)
    job.refresh_from_db()
    assert (job.state, job.samples_failed) == ("completed", 0)
    question = job.steps.get(name="b").question
    assert (question["answer"], question["by"], question["note"]) == ("continue", "olaf", "looked at it")
    assert models.Event.objects.filter(subject=job.steps.get(name="b").pk, data__has_key="breach_s").exists()


def test_skip_gives_the_sample_up_and_the_others_go_on(bench: Bench) -> None:
    job = late_job(bench)
    decide(bench, job, "skip")
    bench.turn()
    job.refresh_from_db()
    assert (job.state, job.samples_failed) == ("completed", 1)
    assert states(job) == {"a": "completed", "b": "skipped", "a1": "completed"}


def test_abort_ends_the_job(bench: Bench) -> None:
    job = late_job(bench)
    decide(bench, job, "abort")
    bench.turn()
    job.refresh_from_db()
    assert (job.state, job.ending["actor"]) == ("failed", "olaf")
    assert requests.late_steps() == []
