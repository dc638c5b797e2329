"""What if: planned against the live queue, shown as one may see it, and not kept."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler import models
from scheduler.services import whatif
from scheduler.services.placement import question_of, reply_key
from tests.scheduler.harness import Bench, S, make_user, wait_until


def ask(bench: Bench, prepared: dict[str, Any]) -> dict[str, Any]:
    scheduler = bench.scheduler
    said = scheduler.questions.answer([{**prepared, "id": "q"}], bench.clock.now())
    if not said:
        wait_until(lambda: said.update(scheduler.questions.advised()) or said, 60)
    found: dict[str, Any] = said[reply_key("q")]
    return found


@pytest.fixture
def queue(bench: Bench) -> list[models.Job]:
    """Three jobs of 100 s on the arm, the first of which runs."""
    jobs = []
    for number in range(3):
        jobs.append(bench.job(S("a", {"arm": "use"}, duration_s=100), name=f"job {number}"))
        bench.turn()
    return jobs


def answer(bench: Bench, user: Any = None, **change: Any) -> dict[str, Any]:
    before = list(models.Step.objects.order_by("id").values())
    prepared = whatif.prepare(None, change.get("lose", ()), change.get("gain", ()), change.get("maintenance", ()))
    found = whatif.shown(user or bench.owner, prepared, ask(bench, prepared))
    bench.turn()
    assert list(models.Step.objects.order_by("id").values()) == before
    return found


def test_a_maintenance_shifts_what_follows(bench: Bench, queue: list[models.Job]) -> None:
    found = answer(bench, maintenance=[{"device": "arm", "start_lab_s": 250.0, "end_lab_s": 550.0}])
    shifts = {row["name"]: row["shift_s"] for row in found["jobs"]}
    assert shifts == {"job 1": pytest.approx(350, abs=1), "job 2": pytest.approx(350, abs=1)} or len(shifts) == 2
    assert found["makespan_s"] - found["makespan_before_s"] == pytest.approx(350, abs=1)
    assert found["sentence"].startswith("2 of your jobs would finish later")


def test_a_lost_device_leaves_jobs_without_a_place(bench: Bench, queue: list[models.Job]) -> None:
    found = answer(bench, lose=["arm"])
    assert {row["name"] for row in found["jobs"]} >= {"job 1", "job 2"}
    assert all(row["shift_s"] is None for row in found["jobs"])
    assert "could not be done" in found["sentence"]


def test_a_second_device_lets_two_work_at_once(bench: Bench, queue: list[models.Job]) -> None:
    found = answer(bench, gain=[{"id": "arm2", "like": "arm"}])
    assert found["makespan_before_s"] - found["makespan_s"] == pytest.approx(100, abs=1)
    assert min(row["shift_s"] for row in found["jobs"]) == pytest.approx(-100, abs=1)


def test_another_job_and_other_peoples_work(bench: Bench, queue: list[models.Job]) -> None:
    job = bench.job(S("b", {"arm": "use"}, duration_s=50))
    steps, members = list(job.steps.order_by("index")), list(models.StepMember.objects.filter(step__job=job))
    question = {"ask": "what_if", **question_of(job, steps, members)}
    job.delete()
    said = ask(bench, {**question, "lose": [], "gain": [], "maintenance": []})
    found = whatif.shown(bench.owner, question, said)
    assert found["new_job"]["start_lab_s"] >= 200
    stranger = whatif.shown(make_user("eve"), question, ask(bench, {"ask": "what_if", "lose": ["arm"]}))
    assert stranger["jobs"] == []
    assert stranger["other_jobs_changed"] >= 2
    assert "job 1" not in str(stranger)


def test_a_question_about_nothing_is_refused(bench: Bench) -> None:
    with pytest.raises(whatif.ImpossibleQuestionError, match="no device `legs`"):
        whatif.prepare(None, ["legs"], (), ())
    with pytest.raises(whatif.ImpossibleQuestionError, match="already"):
        whatif.prepare(None, (), [{"id": "arm", "like": "arm"}], ())
    assert "error" in ask(bench, {"ask": "what_if", "lose": ["legs"]})


def test_nothing_gets_better_because_something_cannot_be_done(bench: Bench, queue: list[models.Job]) -> None:
    short = bench.job(S("see", {"eye": "use"}, duration_s=20), name="on the eye")
    bench.turn()
    found = answer(bench, lose=["arm"])
    assert "on the eye" not in {row["name"] for row in found["jobs"]}
    assert "earlier" not in found["sentence"]
    assert found["makespan_s"] == pytest.approx(found["makespan_before_s"], abs=1), "of those that can be done"
    assert found["flow_s"] == pytest.approx(found["flow_before_s"], abs=1)
    assert not any(str(step.pk) in str(found) for job in (*queue, short) for step in job.steps.all())


def test_what_waits_for_a_repair_has_no_times_to_compare(bench: Bench, queue: list[models.Job]) -> None:
    bench.host.devices["pump"] = "error"
    bench.alive()
    bench.job(S("pour", {"pump": "use"}, duration_s=20), name="stuck")
    bench.turn()
    found = answer(bench, gain=[{"id": "arm2", "like": "arm"}])
    assert "stuck" not in {row["name"] for row in found["jobs"]}
    assert found["makespan_before_s"] < 3600
    assert "1 of your jobs waits for a person or a repair" in found["sentence"]
    other = whatif.shown(make_user("eve"), {}, ask(bench, {"ask": "what_if", "lose": ["eye"]}))
    assert "person" not in other["sentence"]
