"""Whatever happens in whatever order: the live state is what the database says, and no rule is ever broken."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.db import connection
from django.test import TransactionTestCase
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from scheduler import models
from scheduler.process.live import OCCUPYING
from scheduler.services.verbs import CONTROLS, already, legal
from scheduler.states import JOB_FINAL, StepState
from tests.scheduler.harness import DEVICES, Bench, S
from tests.scheduler.test_estop import latch

URLS: dict[str, str] = {}

STEP_KINDS = st.lists(st.sampled_from(DEVICES), min_size=1, max_size=2, unique=True)


PATIENCE_S = 30.0


class Lab(RuleBasedStateMachine):
    """Jobs, orders, failures, interruptions, cancellations, broken devices and restarts in any order."""

    def __init__(self) -> None:
        super().__init__()
        TransactionTestCase()._fixture_teardown()
        self.bench: Bench

    @initialize()
    def begin(self) -> None:
        import uuid

        self.bench = Bench(URLS["mongo"].rsplit("/", 1)[0] + f"/t{uuid.uuid4().hex[:12]}", URLS["redis"])
        self.bench.host.redis.delete("module.bench")
        self.jobs: list[models.Job] = []
        self.serial = 0

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            try:
                self._finish_everything()
            finally:
                self.bench.close()

    # --- what may happen

    @rule(
        devices=st.lists(STEP_KINDS, min_size=1, max_size=3),
        slot=st.booleans(),
        standby=st.booleans(),
        window=st.sampled_from([None, 0.0, 20.0]),
        priority=st.integers(-2, 2),
        samples=st.integers(1, 2),
    )
    def submit(
        self, devices: list[list[str]], slot: bool, standby: bool, window: float | None, priority: int, samples: int
    ) -> None:
        steps: list[S] = []
        for sample in range(samples):
            before: list[Any] = []
            for number, names in enumerate(devices):
                last = number == len(devices) - 1
                steps.append(
                    S(
                        f"{sample}.{number}",
                        {name: "still" if name == "oven" and number % 2 else "use" for name in names},
                        needs=before,
                        takes=["slot"] if slot and number == 0 else [],
                        frees=["slot"] if slot and last else [],
                        samples=(sample,),
                    )
                )
                before = [(f"{sample}.{number}", 0, window)]
                if standby and not last:
                    steps.append(S(f"{sample}.{number}r", standby=True, duration_s=5, needs=before, samples=(sample,)))
                    before = [(f"{sample}.{number}r", 0, window)]
            if slot:
                tidy = S(
                    f"{sample}.tidy", {"arm": "use"}, frees=["slot"], task="tidy_slot", cleanup=True, samples=(sample,)
                )
                steps.append(tidy)
        self.jobs.append(self.bench.job(*steps, samples=samples, priority=priority))

    @rule(seconds=st.sampled_from([0.0, 0.5, 3.0, 10.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.bench.turn(seconds)

    @rule()
    def orders_are_claimed(self) -> None:
        for order in self.bench.host.claim():
            self.bench.host.start(order)

    @precondition(lambda self: self.bench.host.orders)
    @rule(
        data=st.data(), how=st.sampled_from(["completed"] * 4 + ["failed", "failed untouched", "untouched", "touched"])
    )
    def an_attempt_closes(self, data: st.DataObject, how: str) -> None:
        order = data.draw(st.sampled_from(sorted(self.bench.host.orders.values(), key=lambda order: order.attempt_id)))
        match how:
            case "completed":
                self.bench.host.close(order)
            case "failed":
                self.bench.host.close(order, "failed", error="no luck")
            case "failed untouched":
                self.bench.host.close(order, "failed", touched=False)
            case "untouched":
                self.bench.host.close(order, "interrupted", touched=False)
            case "touched":
                self.bench.host.close(order, "interrupted", touched=True)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def a_job_is_cancelled(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.jobs))
        self.bench.request("cancel", job)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), verb=st.sampled_from(CONTROLS))
    def somebody_asks_for_a_verb(self, data: st.DataObject, verb: str) -> None:
        job = data.draw(st.sampled_from(self.jobs))
        before = models.Job.objects.get(id=job.id)
        refused = self.bench.request(verb, job).refused
        possible = verb in legal(before) or already(verb, before)
        assert refused == "" or not possible or before.state in JOB_FINAL or self._moved(before), refused

    def _moved(self, before: models.Job) -> bool:
        """Whether the job changed in the very turn that refused the verb."""
        return models.Job.objects.get(id=before.id).state != before.state

    @rule(decision=st.sampled_from(["done", "failed", "repeat"]))
    def somebody_decides(self, decision: str) -> None:
        step = models.Step.objects.filter(state=StepState.INTERRUPTED).first()
        if step is not None:
            if decision == "repeat":
                self.bench.host.restart_quietly()
                self.bench.alive()
            self.bench.request("decide", step.job, step=str(step.id), decision=decision, note="seen")

    @rule(device=st.sampled_from(DEVICES), state=st.sampled_from(["idle", "error"]))
    def a_device_changes(self, device: str, state: str) -> None:
        self.bench.host.devices[device] = state
        self.bench.alive()

    @rule(tripped=st.booleans())
    def the_emergency_stop_changes(self, tripped: bool) -> None:
        self.serial += 1
        latch(self.bench, tripped, self.serial)
        self.bench.turn()

    @rule(device=st.sampled_from(DEVICES), locks=st.booleans())
    def somebody_locks_or_unlocks(self, device: str, locks: bool) -> None:
        if locks:
            self.bench.request("lock", kind="device", target=device, reason="cleaning")
            return
        for lock in models.MaintenanceLock.objects.filter(target=device, released_at=None):
            self.bench.request("unlock", lock=str(lock.id))

    @rule()
    def the_scheduler_restarts(self) -> None:
        self.bench.restart()

    @rule()
    def redis_is_emptied(self) -> None:
        self.bench.host.redis.flushdb()

    # --- what always holds

    @invariant()
    def devices_are_never_shared(self) -> None:
        if not hasattr(self, "bench"):
            return
        using: dict[str, set[str]] = {}
        still: dict[str, set[str]] = {}
        occupying = models.Step.objects.filter(state__in=OCCUPYING, action__isnull=False)
        for block, devices in occupying.values_list("block", "devices"):
            for device, mode in devices.items():
                (using if mode == "use" else still).setdefault(device, set()).add(str(block))
        for device, blocks in using.items():
            assert len(blocks | still.get(device, set())) == 1, device

    @invariant()
    def steps_come_after_what_they_need(self) -> None:
        if not hasattr(self, "bench"):
            return
        rows = {str(s.id): s for s in models.Step.objects.all()}
        for step in rows.values():
            if step.started_lab_s is None or step.dormant:
                continue
            for need in step.needs:
                before = rows[need["step"]]
                if before.state == StepState.COMPLETED:
                    assert step.started_lab_s >= before.ended_lab_s - 1e-6

    @invariant()
    def the_live_state_is_what_the_database_says(self) -> None:
        if not hasattr(self, "bench"):
            return
        state = self.bench.scheduler.state
        rows = models.Job.objects.filter(placed=True).exclude(state__in=JOB_FINAL)
        assert {str(job.id): job.state for job in rows} == {job.id: job.state for job in state.jobs.values()}
        steps = models.Step.objects.filter(job__in=rows)
        assert {str(s.id): s.state for s in steps} == {s.id: s.state for s in state.steps.values()}
        held = {(p.resource, p.index): str(p.sample_id) for p in models.Place.objects.exclude(sample=None)}
        live = {(r, i): s for r, places in state.places.held.items() for i, s in places.items() if s is not None}
        assert held == live
        for resource, places in state.places.held.items():
            assert state.places.free[resource] == sum(s is None for s in places.values())

    @invariant()
    def what_is_held_or_paused_has_no_order_that_nobody_has_claimed(self) -> None:
        if not hasattr(self, "bench"):
            return
        orders = models.Step.objects.filter(job__state__in=["held", "paused"], state=StepState.DISPATCHED)
        claimed = {unit.id for unit in self.bench.scheduler.state.units.values() if unit.claimed}
        assert {str(block) for block in orders.values_list("block", flat=True)} <= claimed

    @invariant()
    def nothing_is_ordered_where_it_is_stopped_or_locked(self) -> None:
        if not hasattr(self, "bench"):
            return
        scheduler = self.bench.scheduler
        for unit in scheduler.flow.dispatched:
            # Of this turn; what was ordered before may run on under a lock.
            for device in (scheduler.state.devices[name] for name in unit.devices):
                assert not device.estop
                assert not device.lock

    @invariant()
    def final_jobs_hold_no_working_place(self) -> None:
        working = models.Place.objects.exclude(sample=None).exclude(resource="bench.shelf")
        assert not working.filter(sample__job__state__in=JOB_FINAL).exists()

    @invariant()
    def nothing_that_could_start_was_overlooked(self) -> None:
        if not hasattr(self, "bench"):
            return
        scheduler = self.bench.scheduler
        woken = set(scheduler.grants._woken)
        now_s = scheduler.flow.changes.lab_s
        ready = [u.id for u in scheduler.state.units.values() if u.queued and scheduler.grants.may_start(u, now_s)]
        assert set(ready) <= woken

    def _finish_everything(self) -> None:
        """Whatever has happened, a lab whose devices work finishes every job."""
        bench = self.bench
        bench.host.devices = dict.fromkeys(DEVICES, "idle")
        latch(bench, False, self.serial + 1)
        for lock in models.MaintenanceLock.objects.filter(released_at=None):
            bench.request("unlock", lock=str(lock.id))
        bench.alive()
        # Repairs of the plan, for which some steps wait, take their turns by the real clock.
        end_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < end_s:
            step = models.Step.objects.filter(state=StepState.INTERRUPTED).first()
            if step is not None:
                bench.request("decide", step.job, step=str(step.id), decision="done", note="seen")
            for job in models.Job.objects.filter(state__in=["held", "paused"]):
                bench.request("release" if job.state == "held" else "resume", job)
            for job in models.Job.objects.filter(state="needs_operator").exclude(steps__state=StepState.INTERRUPTED):
                for sample in job.samples.exclude(places=None):
                    bench.request("collect", job, sample=str(sample.id))
            for unit in bench.scheduler.attempts.outstanding.values():
                unit.sent_at_s -= 10
            bench.turn(5)
            for order in bench.host.claim():
                bench.host.start(order)
            for order in list(bench.host.orders.values()):
                bench.host.close(order)
            bench.turn()
            if not models.Job.objects.exclude(state__in=JOB_FINAL).exists():
                break
        open_jobs = models.Job.objects.exclude(state__in=JOB_FINAL)
        assert not open_jobs.exists(), [
            (j.state, j.state_reason, list(j.steps.values_list("name", "state", "reason"))) for j in open_jobs
        ]
        assert not models.Place.objects.exclude(sample=None).exclude(resource="bench.shelf").exists()
        seqs = list(models.Event.objects.order_by("seq").values_list("seq", flat=True))
        assert seqs == list(range(1, len(seqs) + 1))


@pytest.mark.django_db(transaction=True)
def test_any_order_of_events(mongo_url: str, redis_url: str) -> None:
    URLS.update(mongo=mongo_url, redis=redis_url)
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS knox_authtoken")
    run_state_machine_as_test(
        Lab,
        settings=settings(
            max_examples=25,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
