"""The verbs of a job: hold, release, pause, resume, and the four ways to end it.

What is ordered but not claimed is withdrawn; what runs hears a control; what waits waits or is dropped. Each verb may
be asked for twice: the second time changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from modules.contract.messages import Control, ControlVerb
from scheduler.events import Happening
from scheduler.models import Request
from scheduler.process.attempts import Attempts
from scheduler.process.failures import RESTING, is_cleanup
from scheduler.process.flow import ENDS, Flow, told
from scheduler.process.live import ATTENDED, LiveJob, Unit
from scheduler.services.verbs import ENDINGS, already, legal, refusal
from scheduler.states import JobState, StepState

_CONTROLS: Mapping[str, ControlVerb] = {"cancel": "abort", "stop": "stop", "abort": "abort", "halt": "halt"}


class RefusedError(Exception):
    """The request cannot be granted; the text tells the person why."""


class JobControl:
    """Applies the verbs to the live state."""

    def __init__(self, flow: Flow, attempts: Attempts) -> None:
        self.flow = flow
        self.attempts = attempts
        self._controls: list[Control] = []
        self.verbs: dict[str, Callable[[Request], None]] = {
            "hold": self._hold,
            "release": self._release,
            "pause": self._pause,
            "resume": self._resume,
            **{how: partial(self._end, how) for how in ENDINGS},
        }

    def controls_written(self) -> list[Control]:
        """Return the controls that hosts are to be rung about, once."""
        controls, self._controls = self._controls, []
        return controls

    def job_of(self, request: Request) -> LiveJob:
        """Return the job of a request; raise RefusedError if it is final."""
        job = self.flow.state.jobs.get(str(request.job_id))
        if job is None or job.final:
            raise RefusedError("the job is final")
        return job

    def resume_ending(self, job: LiveJob) -> None:
        """Go on with an ending that an earlier scheduler began."""
        if job.state != JobState.CANCELLING:
            return
        how = job.how or "cancel"
        for unit in job.units:
            if unit.state in ATTENDED and not unit.standby and not (is_cleanup(unit) and how != "halt"):
                self.tell(unit, _CONTROLS[how], "octolab", told(job) or "the job is being cancelled")

    # --- hold and pause

    def _hold(self, request: Request) -> None:
        job = self._legal("hold", request)
        if job is not None:
            self.hold(job, request.actor.get_username(), _reason(request))

    def hold(self, job: LiveJob, actor: str, reason: str) -> None:
        """Let nothing more of a job start."""
        self._withdraw(job, "the job is held")
        self._move(job, JobState.HELD, actor, reason)
        self.flow.plan.predictions.disturbed(job, self.flow.changes)

    def _release(self, request: Request) -> None:
        job = self._legal("release", request)
        if job is None:
            return
        for module, digest in self.flow.state.manifests.items():
            if job.manifests.get(module, digest) != digest:
                raise RefusedError(f"the module {module} has changed since: cancel the job and submit it again")
        self._move(
            job,
            JobState.QUEUED if job.started_s is None else JobState.RUNNING,
            request.actor.get_username(),
            _reason(request),
        )

    def _pause(self, request: Request) -> None:
        job = self._legal("pause", request)
        if job is None:
            return
        self.pause(job, request.actor.get_username(), _reason(request))

    def pause(self, job: LiveJob, actor: str, reason: str) -> None:
        """Let a running job wait at the next safe points."""
        for unit in self._withdraw(job, "the job is paused"):
            if any(self.attempts.manifests.may_pause(job, step.module, step.action) for step in unit.steps):
                self.tell(unit, "pause", actor, reason)
                if unit.first.state == StepState.RUNNING:
                    self.flow.changes.step(unit.first, StepState.PAUSING, actor=actor)
        self._move(job, JobState.PAUSED, actor, reason)
        self.flow.plan.predictions.disturbed(job, self.flow.changes)

    def _resume(self, request: Request) -> None:
        job = self._legal("resume", request)
        if job is None:
            return
        for unit in job.units:
            if not unit.standby and unit.state in ATTENDED:
                self.tell(unit, "resume", request.actor.get_username(), _reason(request))
                if unit.first.state == StepState.PAUSING:
                    self.flow.changes.step(unit.first, StepState.RUNNING, actor=request.actor.get_username())
        self._move(job, JobState.RUNNING, request.actor.get_username(), _reason(request))

    def _move(self, job: LiveJob, to: JobState, actor: str, reason: str) -> None:
        flow = self.flow
        if job.state == JobState.NEEDS_OPERATOR:
            job.back_to = to if to in RESTING else ""
            flow.changes.touch(job)
            flow.changes.happened(
                Happening("job", job.id, job.id, job.project_id, job.state, job.state, actor, reason or f"to be {to}")
            )
        else:
            flow.changes.job(job, to, reason, actor=actor)
        flow.plan.mark_stale()
        flow.grants.wake_job(job)
        flow.settle_job(job)

    # --- the end

    def _end(self, how: str, request: Request) -> None:
        job = self._legal(how, request)
        if job is None:
            return
        self.end(job, how, request.actor.get_username(), _reason(request))

    def follow_policy(self, job: LiveJob, then: str, reason: str) -> None:
        """Pause or abort a job of which a task has failed, as its policy says."""
        if then == "pause" and job.state == JobState.RUNNING:
            self.pause(job, "octolab", reason)
        elif then == "abort" and not job.final and job.ending is None:
            self.end(job, "abort", "octolab", reason)

    def end(self, job: LiveJob, how: str, actor: str, why: str) -> None:
        """End a job in one of the four ways."""
        flow = self.flow
        job.ending = {"how": how, "actor": actor, "reason": why}
        flow.changes.touch(job)
        reason = told(job)
        running = self._withdraw(job, reason, cleanup=how == "halt")
        if running and job.state == JobState.QUEUED:
            flow.open_job(job, flow.now_s)
        if job.state == JobState.QUEUED or job.state == JobState.AWAITING_APPROVAL or _held_unstarted(job):
            self._end_unstarted(job, reason, actor)
            return
        if job.state == JobState.CANCELLING:
            flow.changes.happened(Happening("job", job.id, job.id, job.project_id, job.state, job.state, actor, reason))
            job.reason = reason
        elif job.state != JobState.NEEDS_OPERATOR or not interrupted(job):
            flow.changes.job(job, JobState.CANCELLING, reason, actor=actor)
        self._drop_waiting(job, reason, actor)
        for unit in running:
            self.tell(unit, _CONTROLS[how], actor, why)
        self._end_standbys(job, reason, actor)
        for sample in job.samples:
            if not any(s.state in ATTENDED or s.state == StepState.INTERRUPTED for s in sample.steps):
                flow.failures.lose(sample, reason, cancelled=True, actor=actor)
        # Its clean-up may have waited because it was held.
        flow.grants.wake_job(job)
        flow.settle_job(job)

    def _end_unstarted(self, job: LiveJob, reason: str, actor: str) -> None:
        flow = self.flow
        self._drop_waiting(job, reason, actor)
        for sample in job.samples:
            flow.failures.lose(sample, reason, cancelled=True, actor=actor)
        if not job.final:
            job.finished_s, job.finished_at = flow.now_s, flow.changes.at
            state, event = ENDS.get(job.how if job.how != "stop" else "cancel", (JobState.CANCELLED, "cancelled"))
            flow.changes.job(job, state, reason, actor=actor)
            flow.let_go(job, event)

    def _drop_waiting(self, job: LiveJob, reason: str, actor: str) -> None:
        for step in job.steps:
            if step.waiting and (job.how == "halt" or not is_cleanup(step.unit)):
                self.flow.failures.skip(step, StepState.CANCELLED, reason, actor, spread=False)

    def _end_standbys(self, job: LiveJob, reason: str, actor: str) -> None:
        for unit in job.units:
            if unit.standby and unit.state == StepState.RUNNING and (job.how == "halt" or not is_cleanup(unit)):
                unit.first.ended_s, unit.first.ended_at = self.flow.now_s, self.flow.changes.at
                self.flow.changes.step(unit.first, StepState.CANCELLED, reason, actor=actor)
                self.flow.unreserve(unit.first)
                self.flow.settle(unit.first)

    # --- helpers

    def _legal(self, verb: str, request: Request) -> LiveJob | None:
        """Return the job; None if it is already as the verb would have it. The state may have moved on since."""
        job = self.job_of(request)
        if already(verb, job):
            return None
        if verb not in legal(job):
            raise RefusedError(refusal(job.state, legal(job)))
        return job

    def _withdraw(self, job: LiveJob, reason: str, *, cleanup: bool = False) -> list[Unit]:
        """Take back what is ordered; return the units for which a host was faster."""
        running = []
        for unit in job.units:
            if unit.standby or unit.state not in ATTENDED or (is_cleanup(unit) and not cleanup):
                continue
            unclaimed = unit.state == StepState.DISPATCHED and not unit.claimed
            if not (unclaimed and self.attempts.withdraw(unit, reason)):
                running.append(unit)
        return running

    def tell(self, unit: Unit, verb: ControlVerb, actor: str, reason: str) -> None:
        """Write a control for a running attempt; its host is rung after the commit."""
        control = self.attempts.bench.control(unit.attempt_id, verb, actor, reason, self.flow.changes.at)
        self._controls.append(control)


def interrupted(job: LiveJob) -> bool:
    """Tell whether a step of the job waits for an operator's decision."""
    return any(step.state == StepState.INTERRUPTED for step in job.steps)


def _held_unstarted(job: LiveJob) -> bool:
    return job.state == JobState.HELD and job.started_s is None


def _reason(request: Request) -> str:
    return str(request.payload.get("reason") or "")
