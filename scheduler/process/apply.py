"""Requests: what people asked for through the web, applied by the one who may.

A request that cannot be granted is refused with a sentence; both answers are stored in its row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import structlog
from django.utils.dateparse import parse_datetime

from modules.contract.messages import Control
from scheduler.events import Happening
from scheduler.models import Request
from scheduler.process.attempts import Attempts
from scheduler.process.bench import AwayError
from scheduler.process.control import JobControl, RefusedError
from scheduler.process.flow import Flow
from scheduler.process.hosts import Hosts
from scheduler.process.live import LiveJob, LiveSample, Unit
from scheduler.process.load import load_jobs, seat_samples
from scheduler.services.placement import reply_key
from scheduler.states import DeviceState, JobState, StepState

log = structlog.get_logger("octolab.scheduler")


_MOST = 1e12


class Requests:
    """Applies requests to the live state."""

    def __init__(self, flow: Flow, attempts: Attempts, hosts: Hosts) -> None:
        self.flow = flow
        self.attempts = attempts
        self.hosts = hosts
        self.control = JobControl(flow, attempts)
        self._summoned: list[LiveJob] = []
        self._verbs: dict[str, Callable[[Request], None]] = {
            **self.control.verbs,
            **hosts.maintenance.verbs,
            "change": self._change,
            "decide": self._decide,
            "refill": self._refill,
            "collect": self._collect,
            "approve": self._approve,
            "reject": self.control.verbs["cancel"],
        }

    def add(self, verbs: Mapping[str, Callable[[Request], None]]) -> None:
        """Take further verbs."""
        self._verbs.update(verbs)

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
        job = self.control.job_of(request)
        if job.state != JobState.AWAITING_APPROVAL:
            raise RefusedError(f"the job is {job.state} and does not wait for approval")
        said = str(request.payload.get("note") or "").strip()
        actor = request.actor.get_username()
        self.flow.changes.job(job, JobState.QUEUED, f"approved by {actor}{': ' if said else ''}{said}", actor=actor)
        self.flow.changes.outbox.append((job, "approved"))

    def controls_written(self) -> list[Control]:
        """Return the controls that hosts are to be rung about, once."""
        return self.control.controls_written()

    def resume(self, job: LiveJob) -> None:
        """Go on with an ending that an earlier scheduler began."""
        self.control.resume_ending(job)

    def _project(self, request: Request) -> str | None:
        job = self.flow.state.jobs.get(str(request.job_id))
        return job.project_id if job is not None else None

    # --- verbs

    def _change(self, request: Request) -> None:
        job, flow = self.control.job_of(request), self.flow
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
        flow.failures.done(unit.job, actor, unit)
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
                self.flow.changes.device(device, DeviceState.BUSY if device.sound else device.host_says)
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
        if any(stock in step.consumes for step in self.flow.state.steps.values() if step.waiting):
            self.flow.plan.mark_stale()
            self.flow.plan.wanted = True
            self.flow.grants.wake_all()

    def _collect(self, request: Request) -> None:
        sample_id = str(request.payload.get("sample"))
        live = self.flow.state.samples.get(sample_id)
        if live is not None:
            if not live.final or any(not s.final and not s.dormant for s in live.steps):
                raise RefusedError("the sample is still being worked on")
            for resource in list(live.places):
                self.flow.give_back(resource, live)
            self.flow.failures.done(live.job, request.actor.get_username())
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


def _id_of(value: Any) -> str | None:
    return None if value is None else str(value)
