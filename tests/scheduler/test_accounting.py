"""What was used is written to the accounts in the turn in which it ended, once."""

from __future__ import annotations

from scheduler.models import Usage
from tests.scheduler.harness import Bench, S


def booked() -> dict[tuple[str, str], float]:
    return {(row.kind, row.item): round(row.amount, 3) for row in Usage.objects.all()}


def test_a_job_is_charged_its_module_time_samples_and_consumables(bench: Bench) -> None:
    job = bench.job(
        S("put", {"arm": "use"}, takes=["shelf", "slot"], consumes={"vials": 2}),
        S("heat", standby=True, duration_s=50, needs=[("put", 0, 0)]),
        S("store", {"arm": "use"}, needs=["heat"], frees=["slot"]),
    )
    bench.run_to_end(job)
    put, store = job.steps.get(name="put"), job.steps.get(name="store")
    worked_s = sum(step.ended_lab_s - step.started_lab_s for step in (put, store))
    assert booked() == {
        ("module", "bench"): round(worked_s, 3),
        ("sample", "completed"): 1.0,
        ("stock", "vials"): 2.0,
    }
    row = Usage.objects.get(kind="module")
    assert (row.user, row.project, row.month.day) == (job.owner, job.project, 1)


def test_a_second_job_adds_to_the_same_rows(bench: Bench) -> None:
    one, two = (bench.job(S("a", {"arm": "use"}, consumes={"vials": 1})) for _ in range(2))
    bench.run_to_end(one, two)
    assert booked()[("stock", "vials")] == 2.0
    assert booked()[("sample", "completed")] == 2.0
    assert Usage.objects.count() == 3


def test_what_was_never_begun_costs_nothing(bench: Bench) -> None:
    job = bench.job(S("a", {"arm": "use"}, consumes={"vials": 1}))
    bench.request("cancel", job)
    bench.turn()
    job.refresh_from_db()
    assert job.state == "cancelled"
    assert booked() == {("sample", "cancelled"): 1.0}


def test_nobody_pays_for_the_time_until_an_operator_decides(bench: Bench) -> None:
    job = bench.job(S("a", {"arm": "use"}, duration_s=10))
    bench.turn()
    (order,) = bench.host.claim()
    bench.host.start(order)
    bench.turn(1)
    bench.host.close(order, "interrupted", touched=True)
    bench.turn(1)
    step = job.steps.get()
    assert step.state == "interrupted"
    bench.clock.time_s += 86_400
    bench.request("decide", job, step=str(step.pk), decision="done", note="it is done")
    bench.turn()
    assert booked()[("module", "bench")] == 10.0
