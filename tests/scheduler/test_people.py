"""Steps that a person does: asked for, answered in the person's name, by the job's failure policy."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import PermissionDenied

from notifications.models import Channel, Notification
from scheduler import models
from scheduler.services import people
from scheduler.services.people import AnswerRefused
from scheduler.services.requests import IllegalStateError
from tests.scheduler.harness import Bench, S, make_user, states
from users.services import set_lab_role


def look(name: str = "look", **fields: Any) -> S:
    values = {"devices": {"olga": "use"}, "duration_s": 60.0, "action": "ask", "task": "look", "person": True}
    return S(name, **{**values, **fields})


def asked(bench: Bench, *steps: S, **fields: Any) -> models.Step:
    """Submit a job, let it begin, and return the step that waits for a person."""
    job = bench.job(*(steps or (look(),)), **fields)
    bench.turn()
    return models.Step.objects.get(job=job, person=True, state="dispatched")


def answer(bench: Bench, step: models.Step, values: dict[str, Any], note: str = "", **fields: Any) -> str:
    """Answer as the job's owner; return why it was refused, or nothing."""
    given = people.answer(bench.owner, step, values, note, wait_s=0, **fields)
    bench.turn()
    given.request.refresh_from_db()
    return given.request.refused


def test_an_answer_is_the_steps_result_with_who_and_when(bench: Bench) -> None:
    step = asked(bench, look("a", key="look"), S("b", {"arm": "use"}, needs=["a"]))
    assert bench.host.deliver() == [], "no host gets an order for what a person does"
    bench.clock.time_s += 30
    assert answer(bench, step, {"mass": "1500 mg", "colour": "red"}, "a little cloudy") == ""
    step.refresh_from_db()
    assert (step.state, step.started_lab_s, step.ended_lab_s) == ("completed", 100.0, 130.0)
    assert step.members.get().task.results == {"mass": 1.5, "colour": "red"}
    [run] = bench.store.find("run_starts")
    [result] = bench.store.find("results")
    [stop] = bench.store.find("run_stops")
    [event] = bench.store.find("events")
    assert (run["by"], run["note"], run["sample"]) == ("ada", "a little cloudy", "s0")
    assert result["values"] == {"mass": {"value": 1.5, "unit": "g"}, "colour": {"value": "red", "unit": ""}}
    assert (result["by"], result["ok"], stop["exit_status"]) == ("ada", True, "success")
    assert event["data"] == {"mass": 1.5, "colour": "red"}
    [order] = bench.host.claim()
    bench.host.close(order)
    bench.turn()
    assert models.Job.objects.get().state == "completed"


def test_the_same_answer_twice_is_one_and_another_is_refused(bench: Bench) -> None:
    step = asked(bench)
    first = people.answer(bench.owner, step, {"mass": 1}, wait_s=0)
    assert people.answer(bench.owner, step, {"mass": 1.0}, wait_s=0).request.pk == first.request.pk
    second = people.answer(bench.owner, step, {"mass": 2}, wait_s=0)
    bench.turn()
    second.request.refresh_from_db()
    assert "nobody is asked" in second.request.refused
    step.refresh_from_db()
    assert people.answer(bench.owner, step, {"mass": 1}, wait_s=0).applied
    with pytest.raises(IllegalStateError, match="completed"):
        people.answer(bench.owner, step, {"mass": 3}, wait_s=0)
    assert len(bench.store.find("results")) == 1


@pytest.mark.parametrize(
    ("values", "field"),
    [({}, "mass"), ({"mass": 11}, "mass"), ({"mass": "1 mL"}, "mass"), ({"mass": "heavy"}, "mass"),
     ({"mass": float("inf")}, "mass"), ({"mass": float("nan")}, "mass"), ({"mass": True}, "mass"),
     ({"mass": 1, "colour": "mauve"}, "colour"), ({"mass": 1, "smell": "sweet"}, "smell"), ({"mass": [1]}, "mass")],
)  # fmt: skip
def test_what_does_not_fit_the_form_is_refused_and_leaves_nothing(
    bench: Bench, values: dict[str, Any], field: str
) -> None:
    step = asked(bench)
    with pytest.raises(AnswerRefused) as refused:
        people.answer(bench.owner, step, values, wait_s=0)
    assert [name for name, _ in refused.value.problems] == [field]
    assert not models.Request.objects.exists()


def test_who_may_answer(bench: Bench) -> None:
    step = asked(bench)
    outsider, operator = make_user("eve"), make_user("olaf")
    with pytest.raises(PermissionDenied):
        people.answer(outsider, step, {"mass": 1}, wait_s=0)
    assert list(people.waiting_for(outsider)) == []
    set_lab_role(operator, "operator", ["bench"])
    assert list(people.waiting_for(operator)) == [step]
    people.answer(operator, step, {"mass": 1}, wait_s=0)
    bench.turn()
    assert bench.store.find("results")[0]["by"] == "olaf"


def test_what_cannot_be_done_says_why_and_follows_the_failure_policy(bench: Bench) -> None:
    job = bench.job(look("a"), S("b", {"arm": "use"}, needs=["a"]), retries=1)
    bench.turn()
    step = models.Step.objects.get(job=job, person=True)
    with pytest.raises(AnswerRefused):
        people.answer(bench.owner, step, {}, cannot=True, wait_s=0)
    assert answer(bench, step, {}, "the balance is broken", cannot=True) == ""
    bench.turn()
    step.refresh_from_db()
    assert (step.state, step.attempt) == ("dispatched", 2), "it is asked for again, as the job's retries say"
    assert answer(bench, step, {}, "still broken", cannot=True) == ""
    bench.turn()
    job.refresh_from_db()
    assert (job.state, job.samples.get().state) == ("failed", "failed")
    assert "ada: still broken" in job.samples.get().reason
    assert states(job) == {"ask": "failed", "b": "skipped"}


def test_one_person_does_one_thing_at_a_time(bench: Bench) -> None:
    bench.job(look("a"))
    bench.job(look("b"))
    bench.turn()
    first = models.Step.objects.get(person=True, state="dispatched")
    assert models.Device.objects.get(id="olga").state == "busy"
    answer(bench, first, {"mass": 1})
    bench.turn()
    second = models.Step.objects.get(person=True, state="dispatched")
    assert second.pk != first.pk


def test_nobody_is_asked_off_duty(bench: Bench) -> None:
    # lab second 100 is shortly after midnight
    job = bench.job(look(devices={"otto": "use"}))
    bench.turn()
    step = job.steps.get()
    assert (step.state, step.planned_start_lab_s) == ("waiting", 8 * 3600)
    bench.turn(8 * 3600 - 101)
    assert job.steps.get().state == "waiting"
    bench.alive()
    bench.turn(2)
    assert job.steps.get().state == "dispatched"


def test_holding_the_job_takes_the_question_back(bench: Bench) -> None:
    step = asked(bench)
    assert bench.request("hold", step.job).refused == ""
    step.refresh_from_db()
    assert step.state == "waiting"
    with pytest.raises(IllegalStateError):
        people.answer(bench.owner, step, {"mass": 1}, wait_s=0)
    bench.request("release", step.job)
    bench.turn()
    step.refresh_from_db()
    assert (step.state, step.attempt) == ("dispatched", 2)
    assert answer(bench, step, {"mass": 1}) == ""


def test_a_question_and_its_answer_survive_a_restart_at_every_point(bench: Bench) -> None:
    step = asked(bench)
    bench.restart()
    assert bench.host.deliver() == []
    given = people.answer(bench.owner, step, {"mass": 1}, wait_s=0)
    bench.restart()
    bench.turn()
    given.request.refresh_from_db()
    step.refresh_from_db()
    assert (step.state, given.request.refused) == ("completed", "")


def test_an_answer_that_reached_the_documents_counts_although_the_scheduler_died(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = asked(bench)
    given = people.answer(bench.owner, step, {"mass": 1}, wait_s=0)

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench.scheduler.attempts, "take_in", die)
    with pytest.raises(KeyboardInterrupt):
        bench.turn()
    bench.restart()
    bench.turn()
    step.refresh_from_db()
    given.request.refresh_from_db()
    assert (step.state, given.request.refused) == ("completed", "")
    assert len(bench.store.find("results")) == len(bench.store.find("run_stops")) == 1


def test_nobody_waits_for_a_deadline_or_a_host(bench: Bench) -> None:
    step = asked(bench)
    models.Step.objects.filter(pk=step.pk).update(granted_at=step.granted_at)
    bench.turn(100_000)
    bench.look()
    step.refresh_from_db()
    assert (step.state, step.deadline_at, step.attempt) == ("dispatched", None, 1)


def test_those_concerned_are_told_with_a_link(bench: Bench) -> None:
    operator, outsider = make_user("olaf"), make_user("eve")
    set_lab_role(operator, "operator", ["bench"])
    for user in (bench.owner, operator, outsider):
        Channel.objects.create(user=user, name="chat", url="json://127.0.0.1:9/")
    step = asked(bench, name="secret recipe")
    told = {row.user.username: row for row in Notification.objects.select_related("user")}
    assert set(told) == {"ada", "olaf"}
    assert all(f"/steps/{step.pk}" in row.body and row.event == "asks_person" for row in told.values())
    assert "secret recipe" in told["ada"].title
    assert "secret recipe" not in told["olaf"].title + told["olaf"].body
    bench.restart()
    assert Notification.objects.count() == 2


def test_a_later_step_refers_to_what_was_answered(bench: Bench) -> None:
    step = asked(
        bench,
        look("a", key="look"),
        S("act", {"arm": "use"}, needs=["a"], task="act", parameters={"depth": {"ref": "look.mass"}, "n": 1}),
    )
    answer(bench, step, {"mass": 4})
    bench.turn()
    [order] = bench.host.claim()
    assert order.members[0].parameters == {"depth": 4.0, "n": 1}
