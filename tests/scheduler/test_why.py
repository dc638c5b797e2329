"""Why is it waiting: what people are told, and by whom."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler import models
from scheduler.services import why
from scheduler.services.placement import reply_key
from tests.scheduler.harness import Bench, S, make_user, wait_until


def ask(bench: Bench, job: models.Job, step: models.Step | None = None) -> dict[str, Any]:
    """Ask the scheduler as the web does, and let the advisor answer."""
    question = {"id": "q", "ask": "why", "job": str(job.id)} | ({} if step is None else {"step": str(step.id)})
    scheduler = bench.scheduler
    said = scheduler.questions.answer([question], bench.clock.now())
    if not said:
        wait_until(lambda: said.update(scheduler.questions.advised()) or said, 60)
    found: dict[str, Any] = said[reply_key("q")]
    return found


def told(bench: Bench, job: models.Job, user: Any = None) -> why.Why:
    job.refresh_from_db()
    return why.at_once(job) or why.explained(user or bench.owner, job, ask(bench, job))


def test_a_busy_device_its_holder_and_what_would_help(bench: Bench) -> None:
    long = bench.job(S("a", {"arm": "use"}, duration_s=600), name="long one")
    bench.turn()
    queue = bench.job(S("b", {"arm": "use"}, duration_s=300), name="between")
    bench.turn()
    job = bench.job(S("c", {"arm": "use"}, duration_s=30))
    bench.turn()
    found = told(bench, job)
    assert (found.reason, found.thing, found.holder) == ("device", "arm", {"job": str(queue.id), "name": "between"})
    assert found.until_lab_s == found.start_lab_s == 1000
    assert "waits for Robot arm, which job “between” has until" in found.sentence
    changes = {one.change: (one.gain_s, one.cost_s) for one in found.remedies}
    assert changes == {"without job “between”": (300, 0), "if it went first": (300, 30)}
    # Somebody who may see this job, but not the other one.
    stranger = make_user("eve")
    hidden = told(bench, job, stranger)
    assert hidden.holder is None
    assert "another user's job" in hidden.sentence
    assert "between" not in hidden.sentence
    assert str(queue.id) not in str(hidden)
    first = told(bench, queue)
    assert first.holder == {"job": str(long.id), "name": "long one"}
    assert [one.change for one in first.remedies] == []


def test_what_is_no_matter_of_the_plan_comes_first(bench: Bench) -> None:
    other = bench.job(S("a", {"arm": "use"}, duration_s=600))
    bench.turn()
    job = bench.job(S("b", {"arm": "use"}, duration_s=30, consumes={"vials": 3}))
    bench.turn()
    assert told(bench, job).reason == "device"
    bench.scheduler.stocks._levels["vials"] = 1.0
    found = told(bench, job)
    assert found.reason == "stock"
    assert "3 are needed and 1 are there" in found.sentence
    device = bench.scheduler.state.devices["arm"]
    device.quarantine = "in quarantine: the gripper is bent"
    assert "the gripper is bent" in told(bench, job).sentence
    bench.scheduler.state.estopped.add("lab")
    assert told(bench, job).reason == "estop"
    assert bench.request("hold", job, reason="I need it later").refused == ""
    assert told(bench, job).sentence.startswith("The job is held: ")
    assert told(bench, other).reason == "under_way"
    models.Job.objects.filter(pk=job.pk).update(state="completed")
    assert not told(bench, job).waits


def test_a_person_who_has_been_asked(bench: Bench) -> None:
    person = S("look", {"olga": "use"}, 60.0, action="ask", task="look", person=True)
    job = bench.job(person, S("b", {"arm": "use"}, needs=["look"]))
    bench.turn()
    found = told(bench, job)
    assert (found.reason, found.waits) == ("human", True)
    assert "waits for olga, who has been asked" in found.sentence


def test_its_own_earlier_step(bench: Bench) -> None:
    job = bench.job(S("a", {"arm": "use"}), S("b", {"eye": "use"}, needs=["a"]))
    bench.turn()
    assert told(bench, job).reason == "predecessor"
    step = job.steps.get(name="a")
    assert ask(bench, job, step)["reason"] == "under_way"


@pytest.mark.parametrize("question", [{}, {"ask": "why"}, {"ask": "sing"}, {"ask": "why", "job": 7, "step": []}])
def test_a_question_that_is_none_does_no_harm(bench: Bench, question: dict[str, Any]) -> None:
    bench.job(S("a", {"arm": "use"}))
    bench.turn()
    assert bench.scheduler.questions.answer([question | {"id": "x"}], 100.0)[reply_key("x")]


def test_a_dear_picture_is_taken_once_for_all_when_nothing_else_is_to_be_done(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.process.advisor.DEAR_S", -1.0)
    monkeypatch.setattr("scheduler.process.advisor.COST_TIMES", 1e6)
    bench.job(S("a", {"arm": "use"}, duration_s=600))
    job = bench.job(S("b", {"arm": "use"}), S("c", {"arm": "use"}, needs=["b"]))
    bench.turn()
    scheduler, taken = bench.scheduler, []
    picture = scheduler.plan.picture
    monkeypatch.setattr(scheduler.plan, "picture", lambda now_s: taken.append(now_s) or picture(now_s))
    questions = [
        {"id": str(step.pk), "ask": "why", "job": str(job.pk), "step": str(step.pk)} for step in job.steps.all()
    ]
    assert scheduler.questions.answer(questions, bench.clock.now()) == {}
    scheduler.bell.ring()
    scheduler.advisor.look(scheduler.plan, bench.clock.now(), idle=not scheduler.bell.rung)
    assert taken == [], "the loop has something else to do"
    scheduler.advisor.look(scheduler.plan, bench.clock.now(), idle=True)
    said: dict[str, Any] = {}
    wait_until(lambda: said.update(scheduler.questions.advised()) or len(said) == 2, 60)
    assert {answer["reason"] for answer in said.values()} == {"device", "predecessor"}
    # Something has changed, but what is asked about is known well enough.
    bench.job(S("d", {"eye": "use"}))
    bench.turn()
    assert ask(bench, job)["reason"] == "device"
    assert len(taken) == 1
    # Of this one the picture knows nothing.
    new = bench.job(S("e", {"arm": "use"}))
    bench.turn()
    assert scheduler.questions.answer([{"id": "new", "ask": "why", "job": str(new.pk)}], bench.clock.now()) == {}
    scheduler.advisor.look(scheduler.plan, bench.clock.now(), idle=True)
    said.clear()
    wait_until(lambda: said.update(scheduler.questions.advised()) or said, 60)
    assert next(iter(said.values()))["reason"] == "device"
    assert len(taken) == 2


def test_an_advisor_that_dies_is_replaced(bench: Bench) -> None:
    bench.job(S("a", {"arm": "use"}, duration_s=600))
    bench.turn()
    job = bench.job(S("b", {"arm": "use"}))
    bench.turn()
    assert told(bench, job).reason == "device"
    child = bench.scheduler.advisor._child._child
    assert child is not None
    child.kill()
    child.wait()
    assert told(bench, job).reason == "device"
