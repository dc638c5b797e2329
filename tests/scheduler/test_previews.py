"""What if a job came now: a preview, a what-if and the submit that follows say the same."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler import models
from scheduler.services import placement, whatif
from scheduler.services.placement import Placement, question_of, reply_key
from tests.scheduler.harness import Bench, S, make_job, make_user, wait_until
from users.models import User

NEAR_S = 0.2
"""Lab seconds: a plan counts in ticks of a twentieth."""


def asked(bench: Bench, owner: User, *steps: S, **fields: Any) -> tuple[Placement, dict[str, Any]]:
    """Ask where a job would stand, as a preview and as a what-if; nothing of it is kept."""
    job = make_job(owner, steps, manifest=bench.host.manifest, submitted_lab_s=bench.clock.now(), **fields)
    rows, members = list(job.steps.order_by("index")), list(models.StepMember.objects.filter(step__job=job))
    question = {"ask": "what_if", **question_of(job, rows, members), "id": "q"}
    job.delete()
    said: dict[str, Any] = {}
    scheduler = bench.scheduler
    said.update(scheduler.questions.answer([question], bench.clock.now()))
    if not said:
        wait_until(lambda: said.update(scheduler.questions.advised()) or said, 60)
    answer = said[reply_key("q")]
    shown = whatif.shown(owner, question, answer)["new_job"]
    return placement.new_job(answer, question["job"]["id"]), shown


def submitted(bench: Bench, owner: User, *steps: S, **fields: Any) -> models.Job:
    job = make_job(owner, steps, manifest=bench.host.manifest, submitted_lab_s=bench.clock.now(), **fields)
    bench.turn()
    job.refresh_from_db()
    return job


def agree(bench: Bench, owner: User, *steps: S, **fields: Any) -> models.Job:
    """Assert that preview, what-if and submit name the same times; return the submitted job."""
    before = list(models.Step.objects.order_by("id").values())
    preview, what_if = asked(bench, owner, *steps, **fields)
    assert list(models.Step.objects.order_by("id").values()) == before
    assert (preview.start_lab_s, preview.finish_lab_s) == (what_if["start_lab_s"], what_if["finish_lab_s"])
    job = submitted(bench, owner, *steps, **fields)
    told = (job.predicted_start_lab_s, job.predicted_finish_lab_s)
    assert told == pytest.approx((preview.start_lab_s, preview.finish_lab_s), abs=NEAR_S)
    return job


LONG = S("a", {"arm": "use"}, duration_s=600.0)


@pytest.fixture
def flood(bench: Bench) -> User:
    """Somebody with twelve jobs of ten minutes on the arm, of which the first has begun."""
    owner = make_user("flood")
    for number in range(12):
        make_job(owner, [LONG], name=f"flood{number}")
    bench.turn()
    for order in bench.host.claim():
        bench.host.start(order)
    bench.turn(5)
    bench.turn()
    return owner


def test_who_has_used_little_is_moved_up(bench: Bench, flood: User) -> None:
    job = agree(bench, make_user("light"), S("a", {"arm": "use"}, duration_s=60.0))
    assert job.predicted_start_lab_s is not None
    assert job.predicted_start_lab_s <= 100 + 600 + 5


def test_the_flood_s_own_next_job_stands_at_its_end(bench: Bench, flood: User) -> None:
    job = agree(bench, flood, LONG)
    assert job.predicted_start_lab_s is not None
    assert job.predicted_start_lab_s >= 100 + 12 * 600 - 5


def test_priority_counts_among_one_s_own(bench: Bench, flood: User) -> None:
    job = agree(bench, flood, LONG, priority=5)
    assert job.predicted_start_lab_s is not None
    assert job.predicted_start_lab_s <= 100 + 600 + 5


def test_a_gap_is_found(bench: Bench, flood: User) -> None:
    agree(bench, flood, S("a", {"pump": "use"}, 30.0), S("b", {"eye": "use"}, 40.0, needs=[("a", 0, 60)]))


def test_a_setting_that_nobody_has_named_before(bench: Bench, flood: User) -> None:
    agree(bench, make_user("light"), S("a", {"oven": "use"}, 30.0, settings={"oven.heat": 60.0}))


def test_a_plan_whose_times_are_out_of_date(bench: Bench, flood: User) -> None:
    bench.scheduler.plan._repaired_s, bench.scheduler.plan.cost_s = float("inf"), 0.0
    bench.turn(620)
    bench.scheduler.plan.mark_stale()
    preview, _ = asked(bench, make_user("light"), S("a", {"arm": "use"}, duration_s=60.0))
    assert preview.start_lab_s is not None
    assert preview.start_lab_s >= bench.clock.now()
    bench.scheduler.plan._repaired_s = 0.0
    job = submitted(bench, make_user("other"), S("a", {"arm": "use"}, duration_s=60.0))
    bench.turn()
    job.refresh_from_db()
    assert job.predicted_start_lab_s == pytest.approx(preview.start_lab_s, abs=NEAR_S)


def test_first_come_first_served(make_bench: Any) -> None:
    bench = make_bench(policy="fcfs")
    submitted(bench, bench.owner, LONG)
    submitted(bench, bench.owner, S("a", {"pump": "use"}, 600.0))
    job = agree(bench, bench.owner, S("a", {"eye": "use"}, 30.0))
    assert job.predicted_start_lab_s is not None
    assert job.predicted_start_lab_s >= 100 + 1200 - 1


def test_coming_cycles_are_no_part_of_the_answer(bench: Bench, flood: User) -> None:
    job = make_job(flood, [S("a", {"pump": "use"}, 30.0)], submitted_lab_s=bench.clock.now())
    job.spec = {**job.spec, "expects": 3}
    rows, members = list(job.steps.all()), list(models.StepMember.objects.filter(step__job=job))
    question = {"ask": "what_if", **question_of(job, rows, members), "id": "q"}
    job.delete()
    said: dict[str, Any] = {}
    assert bench.scheduler.questions.answer([question], bench.clock.now()) == {}
    wait_until(lambda: said.update(bench.scheduler.questions.advised()) or said, 60)
    found = placement.new_job(said[reply_key("q")], question["job"]["id"])
    assert found.finish_lab_s is not None
    assert found.start_lab_s is not None
    assert found.finish_lab_s - found.start_lab_s == pytest.approx(30.0, abs=NEAR_S)
    assert set(found.steps or {}) == {str(row.id) for row in rows}


@pytest.mark.parametrize("question", [{}, {"ask": "what_if", "job": {}}, {"ask": "what_if", "job": {"id": "x"}}])
def test_a_question_without_a_job_is_told_so(bench: Bench, question: dict[str, Any]) -> None:
    said = bench.scheduler.questions.answer([{**question, "id": "q"}], bench.clock.now())
    assert "not understood" in said[reply_key("q")]["error"]
