"""A job goes through: claimed, run, closed, final."""

from __future__ import annotations

from scheduler import models
from tests.scheduler.harness import Bench, S, states


def test_one_step_job_runs(bench: Bench) -> None:
    job = bench.job(S("a", {"arm": "use"}, samples=None), samples=0)
    bench.turn()
    assert states(job) == {"a": "dispatched"}
    (order,) = bench.host.claim()
    assert order.steps[0].devices == {"arm": "use"}
    assert order.job_id == str(job.id)
    bench.host.start(order)
    bench.turn(1)
    assert states(job) == {"a": "running"}
    assert models.Device.objects.get(id="arm").state == "busy"
    bench.clock.time_s += 9
    bench.host.close(order, results={"peak": 3.0})
    bench.turn()
    job.refresh_from_db()
    assert states(job) == {"a": "completed"}
    assert (job.state, job.steps_done, job.started_lab_s, job.finished_lab_s) == ("completed", 1, 100.0, 110.0)
    assert models.Device.objects.get(id="arm").state == "idle"
    assert models.Task.objects.get(job=job).results == {"peak": 3.0}


def test_events_have_no_gaps(bench: Bench) -> None:
    job = bench.job(S("a", {"arm": "use"}), S("b", {"arm": "use"}, needs=["a"]))
    bench.run_to_end(job)
    seqs = list(models.Event.objects.order_by("seq").values_list("seq", flat=True))
    assert seqs == list(range(1, len(seqs) + 1))
    assert models.Leader.objects.get(id=1).last_event_seq == len(seqs)
    chain = models.Event.objects.filter(kind="step", subject=str(job.steps.get(name="b").id)).order_by("seq")
    assert [e.state_to for e in chain] == ["granted", "dispatched", "running", "completed"]


def test_a_sample_goes_through_places_and_a_standby(bench: Bench) -> None:
    job = bench.job(
        S("put", {"arm": "use"}, takes=["shelf", "slot"], consumes={"vials": 1}),
        S("heat", standby=True, duration_s=50, needs=[("put", 0, 0)]),
        S("store", {"arm": "use"}, needs=["heat"], frees=["slot"]),
    )
    bench.run_to_end(job)
    job.refresh_from_db()
    assert job.state == "completed"
    sample = job.samples.get()
    assert sample.state == "completed"
    assert [p.resource for p in sample.places.all()] == ["bench.shelf"]
    stock = models.Stock.objects.get(id="vials")
    assert (stock.level, stock.reserved) == (9, 0)
    put, heat = job.steps.get(name="put"), job.steps.get(name="heat")
    assert heat.started_lab_s == put.ended_lab_s
    assert heat.ended_lab_s == heat.started_lab_s + 50
