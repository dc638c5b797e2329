"""What follows from what: a unit starts, its steps end, samples and jobs become final.

All of it happens in memory and is collected in :class:`~scheduler.process.changes.Changes`. What follows from a
failure is in :mod:`scheduler.process.failures`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

from scheduler.events import Happening
from scheduler.process.changes import Changes
from scheduler.process.endings import Endings
from scheduler.process.failures import Failures
from scheduler.process.grants import Grants, holder_of, wanted
from scheduler.process.live import OCCUPYING, LabState, LiveJob, LiveMember, LiveSample, LiveStep, Unit
from scheduler.process.orders import DEADLINE_S
from scheduler.process.plan import Plan
from scheduler.process.references import References
from scheduler.process.stocks import Stocks
from scheduler.states import DeviceState, JobState, SampleState, StepState

_EPSILON_S = 1e-6
ENDS = {
    "stop": (JobState.COMPLETED, "finished"),
    "abort": (JobState.FAILED, "failed"),
    "halt": (JobState.FAILED, "failed"),
}
"""How a job ends that was asked to, if not by being cancelled: its state, and what people are told."""
_DONE_WITH = {"cancel": "cancelled", "stop": "stopped", "abort": "aborted", "halt": "halted"}


class Flow:
    """Moves units, samples and jobs on.

    Parameters
    ----------
    changes
        Replaced at the start of each turn.
    """

    def __init__(self, state: LabState, grants: Grants, plan: Plan, stocks: Stocks) -> None:
        self.state = state
        self.grants = grants
        self.plan = plan
        self.stocks = stocks
        self.changes = Changes(0.0)
        self.failures = Failures(self)
        self.references = References()
        self.endings = Endings(self)
        self.dispatched: list[Unit] = []
        """Units whose orders go out after the commit."""
        self.finished: list[LiveJob] = []
        """Jobs that became final in this turn."""

    @property
    def now_s(self) -> float:
        """Lab time of the turn."""
        return self.changes.lab_s

    def resume(self, unit: Unit) -> None:
        """Give a unit that an earlier scheduler had started what it holds."""
        if not unit.standby and unit.state in OCCUPYING:
            for name in unit.devices:
                if name in self.state.devices:
                    self.state.devices[name].holders[unit.id] = unit
        self.endings.resume(unit)
        for step in unit.steps:
            if step.waiting or step.dormant:
                continue
            for key, value in step.settings.items():
                for member in step.alive:
                    if any(key in s.settings and not s.final and not s.dormant for s in member.sample.steps):
                        self.state.setting_holders[key][holder_of(member)] = value

    # --- a unit starts

    def grant(self, unit: Unit) -> None:
        """Give a unit what it needs, and start it: a standby by itself, anything else by an order."""
        self.grants.remove(unit)
        for device in unit.devices:
            live = self.state.devices[device]
            live.holders[unit.id] = unit
            self.changes.device(live, DeviceState.BUSY)
        for resource in dict.fromkeys(unit.takes):
            if wanted(unit, resource):
                for member in unit.first.alive:
                    if resource not in member.sample.places:
                        self._take(resource, member.sample, unit.first)
        for key, value in unit.settings.items():
            for member in unit.first.alive:
                self.state.setting_holders[key][holder_of(member)] = value
            self.endings.take_back(key)
        if unit.standby:
            self._start_standby(unit)
        else:
            self._dispatch(unit)

    def _take(self, resource: str, sample: LiveSample, step: LiveStep) -> None:
        index = self.state.places.take(resource, sample)
        if sample.id is not None:
            self.changes.place(resource, index, None, sample.id)
            self.moved("taken", resource, index, sample, step)

    def give_back(self, resource: str, sample: LiveSample, step: LiveStep | None = None) -> None:
        """Free a sample's place."""
        index = self.state.places.give_back(resource, sample)
        if index is not None:
            self.changes.place(resource, index, sample.id, None)
            if sample.id is not None:
                self.moved("freed", resource, index, sample, step)
            self.grants.wake_key(("place", resource))

    def moved(self, what: str, resource: str, index: int, sample: LiveSample, step: LiveStep | None) -> None:
        """Log that a sample got a place or gave it back: its way through the lab is read from there."""
        data = {"place": resource, "index": index, "step": None if step is None else step.id}
        # What stands in for a sample of a job that is over belongs to none.
        job: LiveJob | None = sample.job
        happening = Happening("place", str(sample.id), state_to=what, data=data)
        if job is not None:
            happening.job_id, happening.project_id = job.id, job.project_id
        self.changes.happened(happening)

    def _dispatch(self, unit: Unit) -> None:
        for member in unit.first.alive:
            if wrong := self.references.resolve(unit, member, self.changes):
                self.failures.lose(member.sample, f"{unit.first.task_name} cannot be done: {wrong}")
        if not unit.waiting or not unit.first.alive:
            self.release(unit)
            return
        runs: dict[tuple[str, str | None], str] = {}
        for step in unit.steps:
            step.attempt += 1
            step.granted_at = self.changes.at
            # A person is asked for as long as it takes.
            step.deadline_at = None if unit.person else self.changes.at + timedelta(seconds=DEADLINE_S)
            self.changes.step(step, StepState.GRANTED)
            self.changes.step(step, StepState.DISPATCHED, data={"attempt": step.attempt})
            for member in step.alive:
                member.run_uid = runs.setdefault((member.task.id, member.sample.id), str(uuid4()))
                member.ok, member.error = None, ""
                self.changes.touch(member)
        unit.claimed = False
        self.plan.predictions.ordered(unit, self.now_s)
        self.grants.crowds.ordered(unit)
        self.dispatched.append(unit)

    def _start_standby(self, unit: Unit) -> None:
        step = unit.first
        # It began when what it waited for was over, even if nobody looked then.
        began_s = self.grants.due_s(unit) or self.now_s
        self.begin(step, min(began_s, self.now_s))
        self.plan.begun(unit, began_s)

    def begin(self, step: LiveStep, at_s: float) -> None:
        """Note that a step runs, and with it its job and its samples."""
        self.changes.step(step, StepState.RUNNING)
        step.started_s = at_s
        self.open_job(step.job, at_s)
        for member in step.alive:
            if member.sample.state in (SampleState.PLANNED, SampleState.PARKED):
                self.changes.sample(member.sample, SampleState.ACTIVE)

    def open_job(self, job: LiveJob, at_s: float) -> None:
        """Note that a job runs."""
        if job.started_s is None:
            job.started_s = at_s
            self.changes.touch(job)
        if job.state == JobState.QUEUED:
            self.changes.job(job, JobState.RUNNING)

    # --- a step ends

    def complete(self, step: LiveStep, at_s: float) -> None:
        """End a step that was done: its places, settings and stocks, and whoever waited for it."""
        if step.started_s is None:
            step.started_s = at_s
        step.ended_s, step.ended_at = at_s, self.changes.at
        self.changes.step(step, StepState.COMPLETED)
        if not step.standby:
            self.plan.predictions.ended(step)
        self.consume(step)
        for member in step.alive:
            for resource in step.frees:
                self.give_back(resource, member.sample, step)
            if step.adds and member.sample.id is not None:
                member.sample.contents.append(self._added(step, at_s))
                self.changes.touch(member.sample)
        self.flag_breaches(step)
        self.settle(step)

    def _added(self, step: LiveStep, at_s: float) -> dict[str, Any]:
        """Return what a step put into a sample: what, how much, of which lot, by which devices, when."""
        adds: dict[str, Any] = step.adds or {}
        return {
            **adds,
            "lot": self.stocks.lot(str(adds.get("stock"))),
            "step": step.id,
            "module": step.module,
            "task": step.task_name,
            "devices": sorted(device for device, mode in step.devices.items() if mode == "use"),
            "lab_s": at_s,
        }

    def consume(self, step: LiveStep) -> None:
        """Take what the step used out of its stocks."""
        for stock, amount in step.consumes.items():
            self.stocks.use(self.changes, stock, amount)
            self.changes.charges.add(step.job.owner_id, step.job.project_id, "stock", stock, amount)
            self.changes.unreserve(stock, amount)

    def unreserve(self, step: LiveStep) -> None:
        """Give up what was reserved for a step that will not be done."""
        for stock, amount in step.consumes.items():
            self.changes.unreserve(stock, amount)

    def release(self, unit: Unit) -> None:
        """Let go of the unit's devices."""
        for name in unit.devices:
            device = self.state.devices[name]
            if device.holders.pop(unit.id, None) is not None:
                if not device.holders and device.state == DeviceState.BUSY:
                    self.changes.device(device, *device.at_rest)
                self.grants.wake_key(("device", name))

    def settle(self, step: LiveStep) -> None:
        """Draw the consequences of a step's end for its settings, samples, job and followers."""
        self.endings.over(step)
        for member in step.members:
            self._release_settings(step, member)
            self.settle_sample(member.sample)
        self.grants.wake_followers(step)
        self.settle_job(step.job)

    def _release_settings(self, step: LiveStep, member: LiveMember) -> None:
        holder, sample = holder_of(member), member.sample
        for key, holders in self.state.setting_holders.items():
            if holder in holders and not any(
                key in other.settings and not other.final and not other.dormant for other in sample.steps
            ):
                del holders[holder]
                self.grants.wake_key(("setting", key))
                if not holders:
                    self.endings.call(key, step.job)

    def settle_sample(self, sample: LiveSample) -> None:
        """Complete a sample of which all steps are over."""
        if sample.final:
            return
        if any(not step.final for step in sample.steps if not step.dormant):
            return
        if any(step.state == StepState.CANCELLED for step in sample.steps):
            self.failures.lose(sample, sample.job.reason or "cancelled", cancelled=True)
        elif sample.state in (SampleState.ACTIVE, SampleState.PARKED):
            self.changes.sample(sample, SampleState.COMPLETED)

    def settle_job(self, job: LiveJob) -> None:
        """Make a job final once its samples are, nothing of it runs, and no working place is held."""
        if job.final or not job.placed or any(not step.final and not step.dormant for step in job.steps):
            return
        if any(not sample.final for sample in job.samples):
            return
        if self.failures.empty_places(job):
            self.finish_job(job)

    def finish_job(self, job: LiveJob) -> None:
        """Give a job its final state."""
        self.open_job(job, self.now_s)
        job.samples_failed = sum(s.state == SampleState.FAILED for s in job.samples if s.id is not None)
        job.finished_s, job.finished_at = self.now_s, self.changes.at
        done = any(sample.state == SampleState.COMPLETED for sample in job.samples)
        if job.state in (JobState.HELD, JobState.PAUSED):
            # Its last step was under way all the time.
            self.changes.job(job, JobState.RUNNING)
        if job.ending or any(step.state == StepState.CANCELLED for step in job.steps):
            if job.state == JobState.RUNNING:
                self.changes.job(job, JobState.CANCELLING)
            # Stopped before anything was done, there is nothing that could be a success.
            how = "cancel" if job.how == "stop" and not done else job.how
            to, event = ENDS.get(how, (JobState.CANCELLED, "cancelled"))
            self.changes.job(job, to, told(job))
            self.let_go(job, event)
        elif done or not job.samples:
            self.changes.job(job, JobState.COMPLETED)
            self.let_go(job, "finished")
        else:
            self.changes.job(job, JobState.FAILED, next((s.reason for s in job.samples if s.reason), ""))
            self.let_go(job, "failed")

    def let_go(self, job: LiveJob, event: str) -> None:
        """Tell about a job that has become final, and drop what it kept for clean-up."""
        for step in job.steps:
            if step.dormant:
                self.unreserve(step)
        self.changes.outbox.append((job, event))
        self.plan.predictions.finished(job)
        self.finished.append(job)

    def flag_breaches(self, step: LiveStep) -> None:
        """Log windows that the step's start has broken."""
        for need in step.needs:
            before = self.state.steps.get(need.step)
            if need.max_s is None or before is None or before.ended_s is None or step.started_s is None:
                continue
            late_s = step.started_s - before.ended_s - need.max_s
            if late_s > max(_EPSILON_S, 1e-3 * need.max_s):
                data = {"breach_s": round(late_s, 3), "within_s": need.max_s, "after": before.id}
                self.changes.happened(
                    Happening("step", step.id, step.job.id, step.job.project_id, step.state, step.state,
                              reason=f"started {late_s:.1f} s later than allowed", data=data)
                )  # fmt: skip
                if need.on_breach == "fail":
                    self.failures.fail_samples(step, f"{step.name} started {late_s:.1f} s too late")


def told(job: LiveJob) -> str:
    """Return who has ended a job, how and why, as one line; empty if nobody has."""
    if job.ending is None:
        return ""
    line = f"{_DONE_WITH[job.how]} by {job.ending['actor']}"
    return f"{line}: {job.ending['reason']}" if job.ending["reason"] else line
