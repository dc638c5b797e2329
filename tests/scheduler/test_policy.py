"""What follows when a task fails: repeated as its job wants, and then skip, pause or abort."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler import models
from tests.scheduler.harness import Bench, S, states
from tests.scheduler.test_control import state
from tests.scheduler.test_failures import for_sample


def with_policy(bench: Bench, *steps: S, samples: int = 1, retries: int = 0, **policy: Any) -> models.Job:
    """Make a job whose every task has the policy, before the scheduler sees it."""
    job = bench.job(*steps, samples=samples)
    entry = {"task": "bench.work", "on_failure": policy}
    job.spec = {"format": 1, "retries": retries, "workflow": [entry] * len(steps)}
    job.save()
    return job


def fail(bench: Bench, **fields: Any) -> None:
    """Let the next order fail."""
    bench.turn()
    (order,) = bench.host.claim()
    bench.host.close(order, "failed", error="no luck", **fields)
    bench.turn()


def test_a_repeat_safe_step_is_repeated_as_often_as_wanted_each_time_after_a_longer_wait(bench: Bench) -> None:
    job = with_policy(bench, S("a", {"arm": "use"}, action="safe"), retry=2, wait="30 s")
    for wait_s in (30, 60):
        fail(bench)
        bench.turn(wait_s - 1)
        assert bench.host.deliver() == []
        assert states(job) == {"a": "waiting"}
        bench.turn(1.1)
        assert states(job) == {"a": "dispatched"}
    (order,) = bench.host.claim()
    bench.host.close(order, "failed", error="no luck")
    bench.turn()
    assert (states(job), state(job)) == ({"a": "failed"}, "failed")
    assert job.steps.get().failures == 3


def test_a_wait_before_a_repetition_survives_the_scheduler(bench: Bench) -> None:
    job = with_policy(bench, S("a", {"arm": "use"}, action="safe"), retry=1, wait="30 s")
    fail(bench)
    bench.turn(10)
    bench.restart()
    bench.turn(19)
    assert (bench.host.deliver(), states(job)) == ([], {"a": "waiting"})
    bench.turn(1.1)
    assert states(job) == {"a": "dispatched"}


def test_what_has_moved_and_is_not_repeat_safe_is_never_repeated(bench: Bench) -> None:
    job = with_policy(bench, S("a", {"arm": "use"}), retry=5)
    fail(bench, touched=False)
    assert states(job) == {"a": "dispatched"}
    (order,) = bench.host.claim()
    bench.host.close(order, "failed", error="no luck", touched=True)
    bench.turn()
    assert states(job) == {"a": "failed"}


def test_what_was_withdrawn_or_held_back_is_no_failure(bench: Bench) -> None:
    job = with_policy(bench, S("a", {"arm": "use"}, action="safe"), retry=1)
    for _ in range(3):
        bench.turn()
        bench.request("hold", job)
        bench.host.deliver()
        bench.request("release", job)
    fail(bench)
    assert states(job) == {"a": "dispatched"}
    bench.restart()
    (order,) = bench.host.claim()
    bench.host.close(order, "failed", error="no luck")
    bench.turn()
    assert states(job) == {"a": "failed"}, "the count survives the scheduler"


def test_skip_gives_the_sample_up_and_nobody_else_notices(bench: Bench) -> None:
    job = with_policy(bench, *for_sample(0), *for_sample(1), samples=2, then="skip")
    other = bench.job(S("x", {"eye": "use"}))
    bench.turn()
    order = next(order for order in bench.host.claim() if order.job_id == str(job.id))
    bench.host.close(order, "failed", error="no luck")
    bench.run_to_end(job, other)
    assert (state(job), state(other), job.samples_failed) == ("completed", "completed", 1)


def test_pause_waits_for_somebody_to_look(bench: Bench) -> None:
    job = with_policy(bench, *for_sample(0), *for_sample(1), samples=2, then="pause")
    fail(bench)
    assert state(job) == "paused"
    assert "no luck" in job.state_reason
    bench.turn(100)
    assert bench.host.deliver() == []
    bench.request("resume", job)
    bench.run_to_end(job)
    assert (state(job), job.samples_failed) == ("completed", 1)


def test_abort_ends_the_job_and_puts_everything_away(bench: Bench) -> None:
    job = with_policy(bench, *for_sample(0), *for_sample(1), samples=2, then="abort")
    fail(bench)
    assert state(job) == "cancelling"
    bench.run_to_end(job)
    assert (state(job), job.samples_failed) == ("failed", 2)
    assert job.state_reason.startswith("aborted by octolab: ")
    assert not models.Place.objects.filter(resource="bench.slot").exclude(sample=None).exists()


@pytest.mark.parametrize("then", ["pause", "abort"])
def test_one_failed_member_of_a_batch_is_enough(bench: Bench, then: str) -> None:
    job = with_policy(
        bench,
        S("a", {"arm": "use"}, samples=(0, 1)),
        S("b", {"eye": "use"}, needs=["a"], samples=(1,)),
        samples=2,
        then=then,
    )
    bench.turn()
    (order,) = bench.host.claim()
    bench.host.close(order, failed=[str(job.samples.get(index=0).id)])
    bench.turn()
    assert state(job) == {"pause": "paused", "abort": "failed"}[then]
