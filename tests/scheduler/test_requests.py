"""What people ask for: cancelling at every stage, deciding, refilling, collecting, changing."""

from __future__ import annotations

import threading
from uuid import uuid4

import pytest
from django.core.exceptions import PermissionDenied

from scheduler import models
from scheduler.services import requests
from scheduler.services.requests import IllegalStateError
from tests.scheduler.harness import Bench, S, make_user, states
from tests.scheduler.test_failures import for_sample, step_through
from users.services import set_lab_role


def controls(bench: Bench) -> list[str]:
    return [c["verb"] for c in bench.store.find("controls")]


def test_a_waiting_job_is_cancelled_at_once(bench: Bench) -> None:
    bench.host.devices["arm"] = "offline"
    bench.alive()
    job = bench.job(*for_sample(0))
    bench.turn()
    assert bench.request("cancel", job).refused == ""
    job.refresh_from_db()
    assert (job.state, job.samples.get().state) == ("cancelled", "cancelled")
    assert set(states(job).values()) == {"cancelled", "waiting"}
    assert models.Stock.objects.get(id="vials").reserved == 0


def test_an_unclaimed_order_is_withdrawn(bench: Bench) -> None:
    job = bench.job(*for_sample(0))
    bench.turn()
    orders = bench.host.deliver()
    bench.request("cancel", job)
    job.refresh_from_db()
    assert job.state == "cancelled"
    assert bench.host.claim(orders) == []
    assert not models.Place.objects.exclude(sample=None).exists()
    assert models.Device.objects.get(id="arm").state == "idle"


def test_a_claimed_order_is_aborted_and_its_sample_put_away(bench: Bench) -> None:
    job = bench.job(*for_sample(0))
    bench.turn()
    (order,) = bench.host.claim()
    bench.host.start(order)
    bench.request("cancel", job)
    job.refresh_from_db()
    assert job.state == "cancelling"
    assert controls(bench) == ["abort"]
    bench.host.close(order, "aborted", reason="asked to")
    bench.run_to_end(job)
    job.refresh_from_db()
    assert (job.state, job.samples.get().state) == ("cancelled", "cancelled")
    assert states(job) == {"put0": "aborted", "work0": "cancelled", "store0": "cancelled", "tidy0": "completed"}


def test_a_step_that_finished_before_the_abort_counts_and_the_job_is_still_cancelled(bench: Bench) -> None:
    job = bench.job(*for_sample(0))
    bench.turn()
    (order,) = bench.host.claim()
    bench.host.start(order)
    bench.request("cancel", job)
    bench.host.close(order)
    bench.run_to_end(job)
    job.refresh_from_db()
    assert (job.state, states(job)["put0"], states(job)["tidy0"]) == ("cancelled", "completed", "completed")


def test_a_claim_that_beats_the_withdrawal_is_treated_as_running(bench: Bench) -> None:
    job = bench.job(*for_sample(0))
    bench.turn()
    bench.host.claim()
    assert states(job)["put0"] == "dispatched"
    bench.request("cancel", job)
    job.refresh_from_db()
    assert job.state == "cancelling"
    assert controls(bench) == ["abort"]


def test_cancelling_during_a_standby_puts_the_sample_away(bench: Bench) -> None:
    job = bench.job(
        S("put", {"arm": "use"}, takes=["slot"]),
        S("rest", standby=True, duration_s=1000, needs=["put"]),
        S("take", {"arm": "use"}, needs=["rest"], frees=["slot"]),
        S("tidy", {"arm": "use"}, frees=["slot"], task="tidy_slot", cleanup=True),
    )
    step_through(bench, "put", lambda order: bench.host.close(order))
    assert states(job)["rest"] == "running"
    bench.request("cancel", job)
    assert states(job)["rest"] == "cancelled"
    bench.run_to_end(job)
    job.refresh_from_db()
    assert (job.state, states(job)["tidy"]) == ("cancelled", "completed")


def test_only_open_jobs_can_be_cancelled(bench: Bench) -> None:
    job = bench.job(S("a", {"arm": "use"}))
    bench.run_to_end(job)
    assert "final" in bench.request("cancel", job).refused
    job.refresh_from_db()
    with pytest.raises(IllegalStateError) as caught:
        requests.cancel_job(bench.owner, job)
    assert (caught.value.state, caught.value.legal) == ("completed", frozenset())


def test_a_priority_puts_a_job_before_others(bench: Bench) -> None:
    bench.job(S("a", {"arm": "use"}))
    bench.turn()
    second, third = bench.job(S("b", {"arm": "use"})), bench.job(S("c", {"arm": "use"}))
    bench.turn()
    bench.request("change", third, priority=5, name="urgent")
    (order,) = bench.host.claim()
    bench.host.close(order)
    bench.turn(10)
    assert (states(second), states(third)) == ({"b": "waiting"}, {"c": "dispatched"})
    third.refresh_from_db()
    assert (third.name, third.priority) == ("urgent", 5)
    assert bench.request("change", second, priority=99).refused.startswith("a priority is")


def test_a_job_of_higher_priority_goes_before_those_that_wait(bench: Bench) -> None:
    jobs = [bench.job(S("a", {"arm": "use"})) for _ in range(3)]
    bench.turn()
    urgent = bench.job(S("b", {"arm": "use"}), priority=3)
    bench.turn()
    (order,) = bench.host.claim()
    bench.host.close(order)
    bench.turn(10)
    assert states(urgent) == {"b": "dispatched"}
    assert sum(states(job) == {"a": "waiting"} for job in jobs) == 2


def test_a_stock_is_refilled_and_warns_when_it_runs_low(bench: Bench) -> None:
    job = bench.job(S("a", {"arm": "use"}, consumes={"vials": 8}))
    bench.run_to_end(job)
    assert models.Event.objects.get(kind="stock").state_to == "low"
    assert bench.request("refill", stock="vials", amount=5, lot="L7").refused == ""
    assert bench.request("refill", stock="vials", level=20.0, note="counted").refused == ""
    stock = models.Stock.objects.get(id="vials")
    assert (stock.level, stock.lot) == (20, "L7")
    assert bench.request("refill", stock="gold", amount=5).refused
    assert bench.request("refill", stock="vials", amount=float("1e300")).refused


def test_collecting_frees_a_storage_place(bench: Bench) -> None:
    job = bench.job(S("put", {"arm": "use"}, takes=["shelf"]))
    bench.turn()
    sample = job.samples.get()
    assert "still" in bench.request("collect", job, sample=str(sample.id)).refused
    bench.run_to_end(job)
    assert sample.places.count() == 1
    assert bench.request("collect", job, sample=str(sample.id)).refused == ""
    assert sample.places.count() == 0
    assert bench.request("collect", job, sample=str(sample.id)).refused
    # The place can be taken again.
    other = bench.job(*[S(f"p{i}", {"arm": "use"}, takes=["shelf"], samples=(i,)) for i in range(4)], samples=4)
    bench.run_to_end(other)


def test_unknown_verbs_and_subjects_are_refused(bench: Bench) -> None:
    assert bench.request("explode").refused
    assert bench.request("decide", step=str(uuid4()), decision="done", note="x").refused
    assert bench.request("cancel").refused


def test_the_services_wait_for_the_answer(bench: Bench, settings: object) -> None:
    settings.REDIS_URL = bench.redis_url  # type: ignore[attr-defined]
    job = bench.job(S("a", {"arm": "use"}))
    bench.turn()
    outsider, operator = make_user("eve"), make_user("olga")
    set_lab_role(operator, "operator")
    with pytest.raises(PermissionDenied):
        requests.cancel_job(outsider, job)
    with pytest.raises(PermissionDenied):
        requests.refill(outsider, models.Stock.objects.get(id="vials"), 5)
    assert not requests.cancel_job(bench.owner, job).applied
    bench.turn()
    done: list[requests.Answer] = []
    stock = models.Stock.objects.get(id="vials")

    def ask() -> None:
        from django.db import connection

        done.append(requests.refill(operator, stock, 5))
        connection.close()

    thread = threading.Thread(target=ask)
    thread.start()
    for _ in range(200):
        bench.scheduler.turn()
        thread.join(0.01)
        if not thread.is_alive():
            break
    assert done[0].applied
