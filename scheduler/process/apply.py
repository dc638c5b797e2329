"""Requests: what people asked for through the web, applied by the one who may.

A request that cannot be granted is refused with a sentence; both answers are stored in its row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from django.utils.dateparse import parse_datetime

from modules.contract.messages import Control
from scheduler.events import Happening
from scheduler.models import Request
from scheduler.process.attempts import Attempts
from scheduler.process.bench import AwayError
from scheduler.process.flow import Flow
from scheduler.process.hosts import Hosts
from scheduler.process.live import ATTENDED, LiveJob, LiveSample, Unit
from scheduler.process.load import load_jobs, seat_samples
from scheduler.services.placement import reply_key
from scheduler.states import DeviceState, JobState, StepState

log = structlog.get_logger("octolab.scheduler")


_MOST = 1e12


class RefusedError(Exception):
    """The request cannot be granted; the text tells the person why."""


class Requests:
    """Applies requests to the live state."""

    def __init__(self, flow: Flow, attempts: Attempts, hosts: Hosts) -> None:
        self.flow = flow
        self.attempts = attempts
        self.hosts = hosts
        self._controls: list[Control] = []
        self._summoned: list[LiveJob] = []
        self._verbs: dict[str, Callable[[Request], None]] = {
            "cancel": self._cancel,
            "change": self._change,
            "decide": self._decide,
            "refill": self._refill,
            "collect": self._collect,
            "approve": self._approve,
            "reject": self._cancel,
        }

    def apply(self, answers: dict[str, Any]) -> None:
        """Apply every request that is open, oldest first."""
        for request in Request.objects.filter(applied_at=None).select_related("actor").order_by("id")[:200]:
            refused = ""
            try:
                verb = self._verbs.get(request.verb)
                if verb is None:
                    raise RefusedError(f"there is no verb {request.verb!r}")
                self._summon(request)
                verb(request)
            except RefusedError as error:
                refused = str(error)
            except AwayError:
                # Tried again when the store is back; what was done so far is harmless to repeat.
                continue
            self.flow.changes.requests[str(request.pk)] = refused
            self.flow.changes.happened(
                Happening(
                    "request", str(request.pk), _id_of(request.job_id),
                    self._project(request), "", "refused" if refused else "applied", request.actor.get_username(),
                    refused, {"verb": request.verb},
                )
            )  # fmt: skip
            answers[reply_key(request.pk)] = {"refused": refused}

    def dismiss(self) -> None:
        """Forget the jobs that were only there for their requests; call it after the commit."""
        for job in self._summoned:
            if job.id in self.flow.state.jobs:
                self.flow.state.forget(job)
        self._summoned.clear()

    def _summon(self, request: Request) -> None:
        """Bring a job that waits for approval, of which the plan knows nothing, for the length of a turn."""
        if request.job_id is None or str(request.job_id) in self.flow.state.jobs:
            return
        if request.job is not None and request.job.state == JobState.AWAITING_APPROVAL:
            for job in load_jobs([request.job_id]):
                self.flow.state.add(job)
                seat_samples(self.flow.state, job.samples)
                self._summoned.append(job)

    def _approve(self, request: Request) -> None:
        job = self._job(request)
        if job.state != JobState.AWAITING_APPROVAL:
            raise RefusedError(f"the job is {job.state} and does not wait for approval")
        said = str(request.payload.get("note") or "").strip()
        actor = request.actor.get_username()
        self.flow.changes.job(job, JobState.QUEUED, f"approved by {actor}{': ' if said else ''}{said}", actor=actor)
        self.flow.changes.outbox.append((job, "approved"))

    def controls_written(self) -> list[Control]:
        """Return the controls that hosts are to be rung about, once."""
        controls, self._controls = self._controls, []
        return controls

    def resume(self, job: LiveJob) -> None:
        """Go on with a cancellation that an earlier scheduler began."""
        if job.state == JobState.CANCELLING:
            for unit in job.units:
                if unit.state in ATTENDED and not unit.standby:
                    self._abort(unit, "octolab", "the job is being cancelled")

    def _project(self, request: Request) -> str | None:
        job = self.flow.state.jobs.get(str(request.job_id))
        return job.project_id if job is not None else None

    # --- verbs

    def _cancel(self, request: Request) -> None:
        job, actor = self._job(request), request.actor.get_username()
        if job.state == JobState.CANCELLING:
            return
        reason = str(request.payload.get("reason") or "cancelled")
        flow = self.flow
        running = self._withdraw_orders(job)
        if running and job.state == JobState.QUEUED:
            flow.open_job(job, flow.now_s)
        untouched = job.state in (JobState.QUEUED, JobState.AWAITING_APPROVAL) or (
            job.state == JobState.HELD and job.started_s is None
        )
        if untouched:
            self._cancel_waiting(job, reason, actor)
            for sample in job.samples:
                flow.failures.lose(sample, reason, cancelled=True, actor=actor)
            if not job.final:
                job.finished_s, job.finished_at = flow.now_s, flow.changes.at
                flow.changes.job(job, JobState.CANCELLED, reason, actor=actor)
                flow.let_go(job, "cancelled")
            return
        if job.state != JobState.NEEDS_OPERATOR or not self._interrupted(job):
            flow.changes.job(job, JobState.CANCELLING, reason, actor=actor)
        self._cancel_waiting(job, reason, actor)
        for unit in running:
            self._abort(unit, actor, reason)
        self._end_standbys(job, reason, actor)
        for sample in job.samples:
            if not any(s.state in ATTENDED or s.state == StepState.INTERRUPTED for s in sample.steps):
                flow.failures.lose(sample, reason, cancelled=True, actor=actor)
        flow.settle_job(job)

    def _withdraw_orders(self, job: LiveJob) -> list[Unit]:
        """Take back what is ordered; return the units for which a host was faster."""
        running = []
        for unit in job.units:
            if unit.standby or unit.state not in ATTENDED or _is_cleanup(unit):
                continue
            unclaimed = unit.state == StepState.DISPATCHED and not unit.claimed
            if not (unclaimed and self.attempts.withdraw(unit, "the job was cancelled")):
                running.append(unit)
        return running

    def _cancel_waiting(self, job: LiveJob, reason: str, actor: str) -> None:
        for step in job.steps:
            if step.waiting and not _is_cleanup(step.unit):
                self.flow.failures.skip(step, StepState.CANCELLED, reason, actor, spread=False)

    def _end_standbys(self, job: LiveJob, reason: str, actor: str) -> None:
        for unit in job.units:
            if unit.standby and unit.state == StepState.RUNNING and not _is_cleanup(unit):
                unit.first.ended_s, unit.first.ended_at = self.flow.now_s, self.flow.changes.at
                self.flow.changes.step(unit.first, StepState.CANCELLED, reason, actor=actor)
                self.flow.unreserve(unit.first)
                self.flow.settle(unit.first)

    def _abort(self, unit: Unit, actor: str, reason: str) -> None:
        control = self.attempts.bench.control(unit.attempt_id, "abort", actor, reason, self.flow.changes.at)
        self._controls.append(control)

    def _interrupted(self, job: LiveJob) -> bool:
        return any(step.state == StepState.INTERRUPTED for step in job.steps)

    def _change(self, request: Request) -> None:
        job, flow = self._job(request), self.flow
        if job.state == JobState.CANCELLING:
            raise RefusedError("the job is being cancelled")
        before: dict[str, Any] = {}
        if (name := request.payload.get("name")) is not None:
            before["name"], job.name = job.name, str(name)[:200]
        if "deadline" in request.payload:
            text = request.payload["deadline"]
            deadline = None if text is None else parse_datetime(str(text))
            if text is not None and (deadline is None or deadline.tzinfo is None):
                raise RefusedError("a deadline is an ISO date and time with its offset from UTC")
            before["deadline"], job.deadline_at = job.deadline_at and job.deadline_at.isoformat(), deadline
        if (priority := request.payload.get("priority")) is not None:
            if not isinstance(priority, int) or not -10 <= priority <= 10:
                raise RefusedError("a priority is a whole number from -10 to 10")
            before["priority"], job.priority = job.priority, priority
            flow.plan.mark_stale()
            flow.plan.wanted = True
        flow.changes.touch(job)
        flow.changes.happened(
            Happening("job", job.id, job.id, job.project_id, job.state, job.state, request.actor.get_username(),
                      "changed", {"before": before})
        )  # fmt: skip

    def _decide(self, request: Request) -> None:
        step = self.flow.state.steps.get(str(request.payload.get("step")))
        decision, note = request.payload.get("decision"), str(request.payload.get("note") or "").strip()
        if step is None or step.state != StepState.INTERRUPTED:
            raise RefusedError("this step does not wait for a decision")
        if not note:
            raise RefusedError("a decision needs a note that says what was seen")
        unit, actor, flow = step.unit, request.actor.get_username(), self.flow
        if decision == "repeat" and unit.incarnation and not self.hosts.has_ended(unit.host, unit.incarnation):
            raise RefusedError(
                f"the host {unit.host} is not known to have ended: restart it before the step is repeated"
            )
        if decision not in ("done", "failed", "repeat"):
            raise RefusedError("a decision is done, failed or repeat")
        self._free_devices(unit)
        if flow.failures.no_longer_needs_operator(unit):
            to = JobState.CANCELLING if _is_cancelled(unit.job) else JobState.RUNNING
            flow.changes.job(unit.job, to, actor=actor)
        flow.plan.mark_stale()
        flow.plan.wanted = True
        if decision == "done":
            for one in unit.steps:
                if not one.final:
                    for member in one.alive:
                        member.ok = True
                        flow.changes.touch(member)
                    flow.complete(one, flow.now_s)
            flow.release(unit)
            self.attempts.settle(unit)
        elif decision == "failed":
            flow.failures.end(unit, StepState.FAILED, note, at_s=flow.now_s, touched=True, actor=actor)
        else:
            flow.failures.again(unit, f"to be repeated: {note}", touched=True)

    def _free_devices(self, unit: Unit) -> None:
        for name in unit.devices:
            device = self.flow.state.devices[name]
            if device.attempt_id == unit.attempt_id:
                device.attempt_id = ""
                self.flow.changes.touch(device)
                self.flow.changes.device(device, DeviceState.BUSY if device.usable else device.host_says)
        self.flow.grants.wake_all()

    def _refill(self, request: Request) -> None:
        stock, payload = str(request.payload.get("stock")), request.payload
        before = self.flow.stocks.level(stock)
        if before is None:
            raise RefusedError(f"there is no stock {stock!r}")
        amount, level = payload.get("amount"), payload.get("level")
        given = level if amount is None else amount
        if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < _MOST:
            raise RefusedError("tell the amount that was added, or the level that is there now, in the stock's unit")
        added = float(given) if amount is not None else float(given) - before
        lot = str(payload.get("lot") or "")[:100]
        self.flow.stocks.refill(self.flow.changes, stock, added, lot, request.actor.get_username())

    def _collect(self, request: Request) -> None:
        sample_id = str(request.payload.get("sample"))
        live = self.flow.state.samples.get(sample_id)
        if live is not None:
            if not live.final or any(not s.final and not s.dormant for s in live.steps):
                raise RefusedError("the sample is still being worked on")
            for resource in list(live.places):
                self.flow.give_back(resource, live)
            if live.job.state == JobState.NEEDS_OPERATOR and not self._interrupted(live.job):
                to = JobState.CANCELLING if _is_cancelled(live.job) else JobState.RUNNING
                self.flow.changes.job(live.job, to, actor=request.actor.get_username())
            self.flow.settle_job(live.job)
        elif not self._empty(sample_id):
            raise RefusedError("the sample holds no place")
        self.flow.changes.happened(
            Happening("sample", sample_id, _id_of(request.job_id), self._project(request),
                      state_to="collected", actor=request.actor.get_username())
        )  # fmt: skip

    def _empty(self, sample_id: str) -> bool:
        """Free the places of a sample whose job is final."""
        places, found = self.flow.state.places, False
        for resource, numbers in places.held.items():
            for index, sample in numbers.items():
                if sample == sample_id:
                    stand_in = LiveSample(sample_id, None, places={resource: index})  # type: ignore[arg-type]
                    self.flow.give_back(resource, stand_in)
                    found = True
        return found

    def _job(self, request: Request) -> LiveJob:
        job = self.flow.state.jobs.get(str(request.job_id))
        if job is None or job.final:
            raise RefusedError("the job is final")
        return job


def _id_of(value: Any) -> str | None:
    return None if value is None else str(value)


def _is_cleanup(unit: Unit) -> bool:
    return any(member.task.cleanup for member in unit.first.members)


def _is_cancelled(job: LiveJob) -> bool:
    return any(step.state == StepState.CANCELLED for step in job.steps)
