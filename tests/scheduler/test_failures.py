"""A failure loses its sample, never another one, and what stands in a working place is put away."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modules.contract.messages import Order
from scheduler import models
from tests.scheduler.harness import Bench, S, states

ROUND = (
    S("put", {"arm": "use"}, takes=["shelf", "slot"], samples=(0,), consumes={"vials": 1}),
    S("work", {"pump": "use"}, needs=["put"], samples=(0,)),
    S("store", {"arm": "use"}, needs=["work"], frees=["slot"], samples=(0,)),
    S("tidy", {"arm": "use"}, frees=["slot"], task="tidy_slot", cleanup=True, samples=(0,)),
)


def for_sample(index: int) -> list[S]:
    """Return the steps of one sample, with names of its own."""
    made = []
    for s in ROUND:
        needs = [f"{n}{index}" for n in s.needs]
        fields = {**s.__dict__, "name": f"{s.name}{index}", "needs": needs, "samples": (index,)}
        made.append(S(**fields))
    return made


def step_through(bench: Bench, name: str, close: Callable[[Order], None]) -> None:
    """Complete every order until one for the named step comes, and close that one as told."""
    for _ in range(200):
        bench.turn(1)
        for order in bench.host.claim():
            if order.steps[0].name == name:
                close(order)
                bench.turn()
                return
            bench.host.close(order)
    raise AssertionError(f"{name} was never ordered")


def test_a_failed_sample_is_put_away_and_others_go_on(bench: Bench) -> None:
    job = bench.job(*for_sample(0), *for_sample(1), samples=2)
    step_through(bench, "work0", lambda order: bench.host.close(order, "failed", error="pump jammed"))
    assert states(job)["work0"] == "failed"
    assert states(job)["store0"] == "skipped"
    bench.run_to_end(job)
    job.refresh_from_db()
    assert (job.state, job.samples_failed) == ("completed", 1)
    assert states(job)["tidy0"] == "completed"
    assert states(job)["tidy1"] == "waiting"
    assert models.Step.objects.get(job=job, name="tidy1").dormant
    samples = {s.name: s for s in job.samples.all()}
    assert (samples["s0"].state, samples["s1"].state) == ("failed", "completed")
    assert "pump jammed" in samples["s0"].reason
    assert {p.resource for p in samples["s0"].places.all()} == {"bench.shelf"}
    assert models.Place.objects.filter(resource="bench.slot", sample=None).count() == 2
    assert models.Stock.objects.get(id="vials").reserved == 0


def test_a_job_of_which_all_samples_failed_has_failed(bench: Bench) -> None:
    job = bench.job(*for_sample(0))
    step_through(bench, "put0", lambda order: bench.host.close(order, "failed", touched=False, error="no vial"))
    job.refresh_from_db()
    # Nothing was moved: nothing is to be put away, and no vial is gone.
    assert (job.state, job.state_reason) == ("failed", "no vial")
    assert not models.Place.objects.exclude(sample=None).exists()
    stock = models.Stock.objects.get(id="vials")
    assert (stock.level, stock.reserved) == (10, 0)


def test_a_sample_in_two_places_is_put_away_from_both_last_one_first(bench: Bench) -> None:
    """A part of it is in the cell, the rest still stands in its slot."""
    job = bench.job(
        S("put", {"arm": "use"}, takes=["slot"]),
        S("fill", {"pump": "use"}, needs=["put"], takes=["cell"]),
        S("look", {"eye": "use"}, needs=["fill"]),
        S("tidy_slot", {"arm": "use"}, frees=["slot"], task="tidy_slot", cleanup=True),
        S("tidy_cell", {"pump": "use"}, frees=["cell"], task="tidy_cell", cleanup=True),
    )
    other = bench.job(
        S("put", {"arm": "use"}, takes=["cell"], duration_s=1), S("go", {"arm": "use"}, needs=["put"], frees=["cell"])
    )
    step_through(bench, "look", lambda order: bench.host.close(order, "failed"))
    assert (states(job)["tidy_cell"], states(job)["tidy_slot"]) == ("dispatched", "waiting")
    bench.run_to_end(job, other)
    assert (states(job)["tidy_cell"], states(job)["tidy_slot"]) == ("completed", "completed")
    assert not models.Place.objects.exclude(sample=None).exists()


def test_a_transfer_that_failed_is_put_away_from_where_it_was_to_end(bench: Bench) -> None:
    job = bench.job(
        S("put", {"arm": "use"}, takes=["slot"]),
        S("move", {"arm": "use"}, needs=["put"], takes=["cell"], frees=["slot"]),
        S("tidy_slot", {"arm": "use"}, frees=["slot"], task="tidy_slot", cleanup=True),
        S("tidy_cell", {"pump": "use"}, frees=["cell"], task="tidy_cell", cleanup=True),
    )
    step_through(bench, "move", lambda order: bench.host.close(order, "failed"))
    assert models.Place.objects.exclude(sample=None).count() == 2
    bench.run_to_end(job)
    assert (states(job)["tidy_cell"], states(job)["tidy_slot"]) == ("completed", "waiting")
    assert not models.Place.objects.exclude(sample=None).exists()


def test_where_nothing_can_put_a_sample_away_an_operator_is_asked(bench: Bench) -> None:
    job = bench.job(S("put", {"arm": "use"}, takes=["cell"]))
    step_through(bench, "put", lambda order: bench.host.close(order, "failed", error="dropped it"))
    job.refresh_from_db()
    assert job.state == "needs_operator"
    sample = job.samples.get()
    assert bench.request("collect", job, sample=str(sample.id)).refused == ""
    job.refresh_from_db()
    assert job.state == "failed"
    assert not sample.places.exists()


def test_untouched_and_safe_failures_are_retried_others_are_not(bench: Bench) -> None:
    job = bench.job(S("a", {"arm": "use"}), retries=1)
    step_through(bench, "a", lambda order: bench.host.close(order, "failed", touched=False, error="port busy"))
    assert bench.host.claim()[0].attempt == 2
    other = bench.job(S("b", {"pump": "use"}, action="safe"), retries=1)
    step_through(bench, "b", lambda order: bench.host.close(order, "failed", error="bubble"))
    assert bench.host.claim()[0].attempt == 2
    third = bench.job(S("c", {"eye": "use"}), retries=5)
    step_through(bench, "c", lambda order: bench.host.close(order, "failed", error="lamp"))
    third.refresh_from_db()
    assert third.state == "failed"
    assert [models.Job.objects.get(id=j.id).state for j in (job, other)] == ["running", "running"]


def test_a_refused_order_is_sent_again_but_not_for_ever(bench: Bench) -> None:
    job = bench.job(S("a", {"arm": "use"}, takes=["slot"]))
    for attempt in range(1, 7):
        bench.turn(3)
        (order,) = bench.host.claim()
        assert order.attempt == attempt
        bench.host.close(order, "failed", refused=True, touched=False, error="emergency stop")
        bench.turn()
        assert bench.host.deliver() == []
    job.refresh_from_db()
    assert (job.state, job.state_reason, job.started_lab_s is None) == ("failed", "emergency stop", False)


def test_a_failed_member_of_a_batch_does_not_fail_the_others(bench: Bench) -> None:
    job = bench.job(
        S("put0", {"arm": "use"}, takes=["slot"], samples=(0,)),
        S("put1", {"arm": "use"}, takes=["slot"], samples=(1,)),
        S("bake", {"oven": "use"}, needs=["put0", "put1"], samples=(0, 1), frees=["slot"]),
        S("look", {"eye": "use"}, needs=["bake"], samples=(1,)),
        S("tidy0", {"arm": "use"}, frees=["slot"], task="tidy_slot", cleanup=True, samples=(0,)),
        samples=2,
    )
    bad = str(job.samples.get(index=0).id)
    step_through(bench, "bake", lambda order: bench.host.close(order, failed=[bad]))
    bench.run_to_end(job)
    job.refresh_from_db()
    assert (job.state, job.samples_failed) == ("completed", 1)
    assert states(job) == dict.fromkeys(("put0", "put1", "bake", "look", "tidy0"), "completed")


def test_a_batch_goes_on_without_a_sample_that_was_lost_before(bench: Bench) -> None:
    job = bench.job(
        S("put0", {"arm": "use"}, samples=(0,)),
        S("put1", {"arm": "use"}, samples=(1,)),
        S("bake", {"oven": "use"}, needs=["put0", "put1"], samples=(0, 1)),
        samples=2,
    )
    step_through(bench, "put0", lambda order: bench.host.close(order, "failed"))
    orders: list[Order] = []

    def close(order: Order) -> None:
        orders.append(order)
        bench.host.close(order)

    step_through(bench, "bake", close)
    assert [m.sample_name for m in orders[0].members] == ["s1"]
    job.refresh_from_db()
    assert (job.state, job.samples_failed) == ("completed", 1)


def test_what_needs_a_step_that_was_not_done_is_lost_too(bench: Bench) -> None:
    job = bench.job(S("prime", {"pump": "use"}, samples=None), S("work", {"arm": "use"}, needs=["prime"]))
    step_through(bench, "prime", lambda order: bench.host.close(order, "failed", error="empty"))
    job.refresh_from_db()
    assert job.state == "failed"
    assert states(job) == {"prime": "failed", "work": "skipped"}


def test_a_block_stops_at_the_step_that_failed(bench: Bench) -> None:
    job = bench.job(
        S("one", {"arm": "use"}),
        S("two", {"pump": "use"}, needs=[("one", 0, 0)], block="one"),
        S("three", {"arm": "use"}, needs=[("two", 0, 0)], block="one"),
    )
    one = str(job.steps.get(name="one").id)

    def close(order: Order) -> None:
        assert [s.name for s in order.steps] == ["one", "two", "three"]
        bench.host.start(order)
        bench.clock.time_s += 10
        ends = {one: bench.clock.now() - 3}
        bench.host.close(order, "failed", step_ends_lab_s=ends, error="stuck")

    step_through(bench, "one", close)
    assert states(job) == {"one": "completed", "two": "failed", "three": "skipped"}
    assert models.Device.objects.filter(state="busy").count() == 0


def test_a_reference_is_put_in_when_the_step_is_ordered(bench: Bench) -> None:
    job = bench.job(
        S("see", {"eye": "use"}),
        S("act", {"arm": "use"}, needs=["see"], task="act", parameters={"depth": {"ref": "see.peak"}, "n": 2}),
    )
    step_through(bench, "see", lambda order: bench.host.close(order, results={"peak": 412.5}))
    (order,) = bench.host.claim()
    assert order.members[0].parameters == {"depth": 412.5, "n": 2}
    assert order.steps[0].duration_s == 41.25
    assert models.Task.objects.get(job=job, key="act").parameters == {"depth": 412.5, "n": 2}


def test_a_reference_to_what_was_not_measured_fails_the_sample(bench: Bench) -> None:
    job = bench.job(
        S("see", {"eye": "use"}),
        S("act", {"arm": "use"}, needs=["see"], task="act", parameters={"depth": {"ref": "see.peak"}, "n": 2}),
    )
    step_through(bench, "see", lambda order: bench.host.close(order))
    job.refresh_from_db()
    assert job.state == "failed"
    assert "see.peak" in job.state_reason
    assert models.Device.objects.filter(state="busy").count() == 0


CROWDED = (
    S("put", {"arm": "use"}, takes=["cell"]),
    S("work", {"pump": "use"}, needs=["put"]),
    S("store", {"arm": "use"}, needs=["work"], frees=["cell"]),
    S("tidy", {"arm": "use"}, frees=["cell"], task="tidy_cell", cleanup=True),
)


def crowded(index: int) -> list[S]:
    """Return the steps of a sample that needs the lab's only cell."""
    return [
        S(**{**s.__dict__, "name": f"{s.name}{index}", "needs": [f"{n}{index}" for n in s.needs], "samples": (index,)})
        for s in CROWDED
    ]


def job_stuck_behind_its_own_lost_sample(bench: Bench) -> models.Job:
    """Return a job of which one sample stands in the only cell, and will not be put away; the other waits for it."""
    job = bench.job(*crowded(0), *crowded(1), samples=2)
    step_through(bench, "work0", lambda order: bench.host.close(order, "failed", error="pump jammed"))
    step_through(bench, "tidy0", lambda order: bench.host.close(order, "failed", error="gripper full"))
    job.refresh_from_db()
    return job


def test_an_operator_is_asked_at_once_when_a_clean_up_fails_and_others_need_the_place(bench: Bench) -> None:
    job = job_stuck_behind_its_own_lost_sample(bench)
    assert (job.state, job.state_reason) == (
        "needs_operator",
        "Take out by hand, then mark as collected: s0 in bench.cell place 1.",
    )
    bench.request("collect", job, sample=str(job.samples.get(name="s0").id))
    job.refresh_from_db()
    assert (job.state, job.state_reason) == ("running", "")
    bench.run_to_end(job)
    job.refresh_from_db()
    assert (job.state, job.samples_failed, job.samples.get(name="s1").state) == ("completed", 1, "completed")


def test_a_held_job_is_held_again_when_the_operator_is_done(bench: Bench) -> None:
    job = bench.job(*crowded(0), *crowded(1), S("elsewhere", {"eye": "use"}, samples=(1,), needs=["store1"]), samples=2)
    orders = []
    step_through(bench, "work0", orders.append)
    bench.request("hold", job)
    bench.host.start(orders[0])
    bench.host.close(orders[0], "interrupted", error="power cut")
    bench.turn()
    job.refresh_from_db()
    assert job.state == "needs_operator"
    bench.restart()
    step = job.steps.get(name="work0")
    bench.request("decide", job, step=str(step.id), decision="done", note="it was done")
    bench.turn(5)
    job.refresh_from_db()
    assert (job.state, job.back_to) == ("held", "")
    assert bench.host.claim() == [], "nothing of a held job moves because an operator has answered"
    bench.request("release", job)
    bench.run_to_end(job)
    job.refresh_from_db()
    assert job.state == "completed"


def job_of_which_one_step_was_interrupted(bench: Bench, hold: str) -> models.Job:
    """Return a job that is held ``before`` or ``after`` one of its steps is interrupted; another could start."""
    job = bench.job(*for_sample(0), *for_sample(1), S("look", {"eye": "use"}, samples=(1,), needs=["put1"]), samples=2)
    orders: list[Order] = []
    step_through(bench, "work0", orders.append)
    if hold == "before":
        bench.request("hold", job)
    bench.host.start(orders[0])
    bench.host.close(orders[0], "interrupted", error="power cut")
    bench.turn()
    if hold == "after":
        assert bench.request("hold", job).refused == ""
    for order in list(bench.host.orders.values()):
        bench.host.close(order)
    assert states(job)["look"] == "waiting"
    bench.turn(5)
    job.refresh_from_db()
    assert job.state == "needs_operator"
    return job


@pytest.mark.parametrize("hold", ["before", "after"])
def test_nothing_more_of_a_held_job_starts_while_it_needs_an_operator(bench: Bench, hold: str) -> None:
    job = job_of_which_one_step_was_interrupted(bench, hold)
    assert bench.host.claim() == []
    assert bench.request("hold", job).refused == "", "it is held already"
    assert bench.request("pause", job).refused
    assert bench.request("release", job).refused == ""
    bench.turn()
    assert "look" in [order.steps[0].name for order in bench.host.claim()]
    bench.request("decide", job, step=str(job.steps.get(name="work0").id), decision="failed", note="spilt")
    job.refresh_from_db()
    assert job.state == "running"
