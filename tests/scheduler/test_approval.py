"""Jobs that wait for an operator's approval: nothing of them is planned before."""

from __future__ import annotations

from notifications.models import Channel, Notification
from scheduler import models
from tests.scheduler.harness import Bench, S


def waiting(bench: Bench, *steps: S) -> models.Job:
    job = bench.job(*(steps or (S("a", {"arm": "use"}, consumes={"vials": 1}),)))
    models.Job.objects.filter(pk=job.pk).update(state="awaiting_approval", state_reason="Waits.")
    job.refresh_from_db()
    return job


def test_nothing_is_planned_before_and_all_is_done_after_the_approval(bench: Bench) -> None:
    job = waiting(bench)
    bench.turn()
    bench.turn(1)
    job.refresh_from_db()
    assert (job.state, job.placed, job.steps.get().planned_start_lab_s) == ("awaiting_approval", False, None)
    assert bench.host.claim() == []
    assert bench.scheduler.state.jobs == {}
    assert bench.request("approve", job, note="looks fine").refused == ""
    bench.turn()
    job.refresh_from_db()
    assert (job.state, job.placed) == ("queued", True)
    assert "looks fine" in job.state_reason
    bench.run_to_end(job)
    job.refresh_from_db()
    assert job.state == "completed"


def test_the_owner_hears_of_it(bench: Bench) -> None:
    job = waiting(bench)
    Channel.objects.create(user=job.owner, name="chat", url="json://127.0.0.1:9/")
    bench.request("approve", job)
    assert [row.event for row in Notification.objects.all()] == ["approved"]


def test_a_rejected_job_is_cancelled_and_gives_back_what_it_reserved(bench: Bench) -> None:
    job = waiting(bench)
    bench.turn()
    assert bench.request("reject", job, reason="rejected by olga: too hot").refused == ""
    job.refresh_from_db()
    assert job.state == "cancelled"
    assert job.state_reason.endswith("rejected by olga: too hot")
    stock = models.Stock.objects.get(id="vials")
    assert (stock.level, stock.reserved) == (10, 0)
    assert bench.scheduler.state.jobs == {}


def test_its_owner_may_cancel_and_change_it_meanwhile(bench: Bench) -> None:
    job = waiting(bench)
    assert bench.request("change", job, name="better", priority=2).refused == ""
    job.refresh_from_db()
    assert (job.name, job.priority, job.state) == ("better", 2, "awaiting_approval")
    assert bench.scheduler.state.jobs == {}
    assert bench.request("cancel", job).refused == ""
    job.refresh_from_db()
    assert job.state == "cancelled"


def test_what_does_not_wait_cannot_be_approved(bench: Bench) -> None:
    job = bench.job(S("a", {"arm": "use"}))
    bench.turn()
    assert "does not wait" in bench.request("approve", job).refused


def test_it_waits_on_through_a_restart(bench: Bench) -> None:
    job = waiting(bench)
    bench.turn()
    bench.restart()
    bench.turn()
    job.refresh_from_db()
    assert (job.state, job.placed) == ("awaiting_approval", False)
