"""Attempts: orders that are out, and what hosts have made of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import structlog

from scheduler.process import endings
from scheduler.process.bench import Bench
from scheduler.process.equipment import LiveDevice
from scheduler.process.failures import is_cleanup
from scheduler.process.flow import Flow, told
from scheduler.process.live import ATTENDED, LiveJob, LiveStep, Unit
from scheduler.process.manifests import Manifests
from scheduler.process.orders import RESEND_S
from scheduler.process.policy import SKIP, Policy, policy_of, severest
from scheduler.process.references import add_results
from scheduler.states import DeviceState, JobState, StepState

log = structlog.get_logger("octolab.scheduler")

REFUSED_S = 2.0
"""Real seconds before an order that was refused is sent again."""
MOST_REFUSALS = 5


class Attempts:
    """Follows all attempts that are not closed."""

    def __init__(self, flow: Flow, bench: Bench, manifests: Manifests, scale: float = 1.0) -> None:
        self.flow = flow
        self.scale = scale
        self.bench = bench
        self.manifests = manifests
        self.on_broken: Callable[[LiveDevice, str], None] = lambda device, why: None
        """Called with a device whose driver has failed, and how."""
        self.on_policy: Callable[[LiveJob, str, str], None] = lambda job, then, reason: None
        """Called when a failed task's policy is to pause or to abort its job."""
        self.outstanding: dict[str, Unit] = {}
        """Attempt id → unit: everything that is dispatched or runs at a host."""

    def adopt(self, units: Iterable[Unit]) -> None:
        """Take over what an earlier scheduler had ordered; unclaimed orders go out again at once."""
        for unit in units:
            if unit.state in ATTENDED and not unit.standby:
                self._follow(unit)
                unit.sent_at_s = 0.0

    def sent(self, units: Iterable[Unit]) -> None:
        """Follow units whose orders are going out."""
        for unit in units:
            self._follow(unit)
            unit.sent_at_s = time.monotonic()

    def look(self) -> None:
        """Read the records of everything outstanding and draw the consequences.

        Raises
        ------
        AwayError
            If the store cannot be read.
        """
        if self.outstanding:
            records = self.bench.attempts(self.outstanding)
            for attempt_id, record in records.items():
                unit = self.outstanding.get(attempt_id)
                if unit is not None:
                    self.take_in(unit, record)

    def unanswered(self, now_s: float) -> list[Unit]:
        """Return units whose order nobody claimed for too long: they are sent again, or withdrawn at the deadline.

        Raises
        ------
        AwayError
            If a withdrawal cannot be decided.
        """
        again = []
        for unit in list(self.outstanding.values()):
            if unit.claimed or unit.person or unit.state != StepState.DISPATCHED:
                continue
            deadline = unit.first.deadline_at
            if deadline is not None and self.flow.changes.at > deadline:
                self.withdraw(unit, "nobody claimed the order in time")
            elif now_s - unit.sent_at_s >= RESEND_S:
                again.append(unit)
        return again

    def withdraw(self, unit: Unit, reason: str) -> bool:
        """Take an order back; False if a host was faster, and the attempt is to be treated as running."""
        won = self.bench.withdraw(unit.attempt_id, unit.first.module, [step.id for step in unit.steps], reason)
        if won:
            self._drop(unit)
            self.flow.failures.again(unit, reason)
        else:
            self._claimed(unit)
        return won

    def lose(self, unit: Unit) -> None:
        """Close an attempt whose host has lost its lease.

        Raises
        ------
        AwayError
            If that cannot be decided.
        """
        reason = "the host has lost its lease"
        if self.bench.interrupt(unit.attempt_id, reason):
            # What the host did after its last record is not known.
            self._interrupted(unit, {"state": "interrupted", "reason": reason, "touched": True})

    # --- one record

    def take_in(self, unit: Unit, record: Mapping[str, Any]) -> None:
        """Draw the consequences of an attempt's record."""
        unit.host, unit.incarnation = record.get("host") or "", record.get("incarnation") or ""
        match record["state"]:
            case "claimed":
                self._claimed(unit)
            case "running":
                self._claimed(unit)
                self._begin(unit, record)
                self._pause(unit, bool(record.get("paused")))
            case "completed" | "failed" | "aborted":
                self._close(unit, record)
            case "interrupted":
                self._interrupted(unit, record)
            case "withdrawn":
                self._drop(unit)
                self.flow.failures.again(unit, record.get("reason") or "withdrawn")

    def _claimed(self, unit: Unit) -> None:
        unit.claimed = True
        self.flow.grants.crowds.claimed(unit)

    def _begin(self, unit: Unit, record: Mapping[str, Any]) -> None:
        if unit.first.state == StepState.DISPATCHED:
            at_s = self._time(record.get("started_lab_s"))
            self.flow.begin(unit.first, at_s)
            self.flow.plan.predictions.begun(unit, at_s)
            self.flow.plan.begun(unit, at_s)

    def _pause(self, unit: Unit, paused: bool) -> None:
        """Note that the action stands at a safe point, or goes on."""
        step = unit.first
        if paused and step.state in (StepState.RUNNING, StepState.PAUSING):
            self.flow.changes.step(step, StepState.PAUSED)
            self.flow.plan.predictions.disturbed(unit.job, self.flow.changes)
        elif not paused and step.state == StepState.PAUSED:
            self.flow.changes.step(step, StepState.RUNNING)

    def _close(self, unit: Unit, record: Mapping[str, Any]) -> None:
        self._drop(unit)
        flow, state = self.flow, record["state"]
        flow.state.emergency_seen = flow.state.emergency_seen or bool(record.get("emergency"))
        ended_s = self._time(record.get("ended_lab_s"))
        touched = bool(record.get("touched"))
        # What was ordered in vain has not begun; a job counts as started only by what was done.
        if state == "completed" or touched or record.get("started_lab_s") is not None:
            self._begin(unit, record)
        if state == "completed" or touched:
            flow.endings.touched(unit)
        for name, why in (record.get("broken") or {}).items():
            if name in flow.state.devices:
                self.on_broken(flow.state.devices[name], str(why))
        failed = self._outcomes(unit, record)
        any_done = any(member.ok for member in unit.first.alive)
        if state == "completed" or (state == "failed" and any_done):
            # Lost before the steps are completed, so that their places are not given back as if all had gone well.
            lost = [member for member in unit.steps[-1].members if member.pk in failed]
            for member in lost:
                flow.failures.lose(member.sample, member.error or "failed")
            self._complete_steps(unit, record, ended_s, unit.steps)
            flow.release(unit)
            flow.plan.ended(unit, ended_s)
            for member in lost:
                flow.failures.clean_up(member.sample)
            self.settle(unit)
            self._follow_policy(unit, {member.pk for member in lost}, next((m.error for m in lost), ""))
            return
        reason = record.get("error") or record.get("reason") or state
        if state == "failed" and not touched and record.get("started_lab_s") is None and self._refused(unit):
            log.warning("order refused, to be sent again", attempt=unit.attempt_id, reason=reason)
            flow.failures.again(unit, reason)
            return
        if record.get("emergency") and not touched and (is_cleanup(unit) or unit.job.state != JobState.CANCELLING):
            # Nothing has moved, so nothing is lost: it waits until an operator has re-armed.
            flow.failures.again(unit, reason)
            return
        if state == "failed":
            for step in unit.steps:
                step.failures += not step.final
        if state == "failed" and self._may_repeat(unit, touched):
            self._not_before(unit, ended_s + _policy(unit).pause_s(unit.first.failures))
            log.info("attempt failed and is repeated", attempt=unit.attempt_id, reason=reason)
            flow.failures.again(unit, f"attempt {unit.first.attempt} failed: {reason}", touched=touched)
            return
        if unit.ends and unit.job.how != "halt":
            # What it was to switch off is perhaps still on.
            self._leave_to_operator(unit, f"{state} (attempt {unit.first.attempt}): {reason}", "")
            return
        done = [step for step in unit.steps if step.id in (record.get("step_ends_lab_s") or {})]
        self._complete_steps(unit, record, ended_s, done)
        flow.plan.mark_stale()
        if all(step.final for step in unit.steps):
            # Everything was done, and then something failed: the samples are lost all the same.
            flow.release(unit)
            for member in unit.first.alive:
                flow.failures.lose(member.sample, reason)
            self._follow_policy(unit, None, reason)
            return
        flow.failures.end(
            unit,
            StepState.ABORTED if state == "aborted" else StepState.FAILED,
            reason,
            at_s=ended_s,
            touched=touched,
        )
        if state == "failed":
            self._follow_policy(unit, None, reason)

    def _follow_policy(self, unit: Unit, members: set[int] | None, reason: str) -> None:
        """Do what the job wants to happen when a task has finally failed: for some members, or (None) for all."""
        then = severest(unit.steps[-1:], members) if members != set() else SKIP
        if then != SKIP:
            self.on_policy(unit.job, then, f"{unit.first.task_name} failed: {reason}")

    def _complete_steps(self, unit: Unit, record: Mapping[str, Any], ended_s: float, steps: list[LiveStep]) -> None:
        ends = record.get("step_ends_lab_s") or {}
        before_s = unit.first.started_s
        for step in steps:
            if step.final:
                continue
            if step.started_s is None:
                step.started_s = before_s
            before_s = min(self._time(ends.get(step.id, ended_s)), max(ended_s, 0.0))
            self.flow.complete(step, before_s)

    def _outcomes(self, unit: Unit, record: Mapping[str, Any]) -> set[int]:
        """Note outcomes and results; return the members (of the last step) that failed."""
        outcomes = {(o.get("task_id"), o.get("sample_id")): o for o in record.get("outcomes") or ()}
        failed = set()
        for step in unit.steps:
            for member in step.alive:
                outcome = outcomes.get((member.task.id, member.sample.id))
                member.ok = record["state"] == "completed" if outcome is None else bool(outcome.get("ok"))
                member.error = "" if member.ok else str((outcome or {}).get("error") or record.get("error") or "")
                self.flow.changes.touch(member)
                if not member.ok:
                    failed.add(member.pk)
                elif outcome and outcome.get("results"):
                    add_results(member, len(step.members) > 1, outcome["results"])
                    self.flow.changes.touch(member.task)
        return failed

    def settle(self, unit: Unit) -> None:
        """Draw the consequences of a unit's completion: where a clean-up is over, the next may have to follow."""
        for member in unit.steps[-1].members:
            if member.task.cleanup:
                self.flow.failures.clean_up(member.sample)
        self.flow.settle_job(unit.job)
        self.flow.grants.wake_followers(unit.steps[-1])

    def _refused(self, unit: Unit) -> bool:
        """Note that a host refused an order; tell whether it is worth trying again.

        A host knows of an emergency stop or of a new manifest a moment earlier than we do, so the sample is not lost
        for it.
        """
        unit.refusals += 1
        self._not_before(unit, self.flow.now_s + REFUSED_S * self.scale)
        return unit.refusals <= MOST_REFUSALS and unit.job.state != JobState.CANCELLING

    def _not_before(self, unit: Unit, lab_s: float) -> None:
        unit.first.not_before_s = lab_s
        self.flow.changes.touch(unit.first)

    def _may_repeat(self, unit: Unit, touched: bool) -> bool:
        if unit.job.state == JobState.CANCELLING and not unit.ends:
            return False
        if max(s.failures for s in unit.steps) > _policy(unit).retry:
            return False
        return not touched or self._repeat_safe(unit)

    def _repeat_safe(self, unit: Unit) -> bool:
        return all(
            self.manifests.repeat_safe(unit.job, step.module, step.action) for step in unit.steps if not step.final
        )

    def _interrupted(self, unit: Unit, record: Mapping[str, Any]) -> None:
        self._drop(unit)
        reason = record.get("reason") or record.get("error") or "interrupted"
        flow = self.flow
        flow.state.emergency_seen = flow.state.emergency_seen or bool(record.get("emergency"))
        if not record.get("touched") and _given_up(unit):
            # Nobody wants it any more: done now, it would move for a job that somebody has ended.
            flow.plan.mark_stale()
            flow.failures.end(unit, StepState.ABORTED, told(unit.job) or reason, at_s=flow.now_s, touched=False)
            return
        if not record.get("touched"):
            # It moved nothing, so doing it now is doing it once.
            log.info("untouched attempt is repeated", attempt=unit.attempt_id, reason=reason)
            flow.failures.again(unit, f"attempt {unit.first.attempt} was interrupted before it moved anything")
            return
        self._begin(unit, record)
        flow.endings.touched(unit)
        done = [step for step in unit.steps if step.id in (record.get("step_ends_lab_s") or {})]
        self._complete_steps(unit, record, flow.now_s, done)
        self._leave_to_operator(unit, reason, record.get("last_command") or "")

    def _leave_to_operator(self, unit: Unit, reason: str, last: str) -> None:
        """Nobody knows what became of a unit: its devices stay blocked until an operator has decided."""
        flow = self.flow
        for step in unit.steps:
            if not step.final:
                flow.changes.step(step, StepState.INTERRUPTED, reason, data={"last_command": last})
        for name in unit.devices:
            device = flow.state.devices[name]
            device.attempt_id = unit.attempt_id
            flow.changes.touch(device)
            flow.changes.device(device, DeviceState.UNKNOWN, f"{unit.first.name} was interrupted: {reason}")
        flow.plan.mark_stale()
        flow.plan.wanted = True
        flow.failures.need_operator(unit.job, f"{unit.first.name} was interrupted: decide what became of it.")

    # --- helpers

    def _follow(self, unit: Unit) -> None:
        self.outstanding[unit.attempt_id] = unit
        self.flow.grants.crowds.ordered(unit)

    def _drop(self, unit: Unit) -> None:
        self.outstanding.pop(unit.attempt_id, None)
        self.flow.grants.crowds.claimed(unit)

    def _time(self, lab_s: Any) -> float:
        """Return a recorded lab time, or now if there is none; nothing has ended in the future."""
        return self.flow.now_s if not isinstance(lab_s, int | float) else min(float(lab_s), self.flow.now_s)


def _policy(unit: Unit) -> Policy:
    """Return how often a unit is repeated: as its job says, and what switches a setting off a few times at least."""
    return Policy(endings.MOST_FAILURES - 1, endings.PAUSE_S) if unit.ends else policy_of(unit)


def _given_up(unit: Unit) -> bool:
    """Tell whether a unit is not to be done any more, because its job is being ended and it is no clean-up."""
    job = unit.job
    return bool(job.ending) and (job.how == "halt" or not (is_cleanup(unit) or unit.ends))
