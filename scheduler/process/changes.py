"""What one turn of the loop changes: collected in memory, written in one transaction.

Every change of a state goes through here: it is checked against the table of transitions, written by
compare-and-set, and logged as an event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db import connection, transaction

from octolab.rows import update_rows
from scheduler import events
from scheduler.accounting.ledger import Charges
from scheduler.events import Happening
from scheduler.models import Device, Job, Place, Request, Sample, Step, StepMember, Task
from scheduler.process.charging import charge
from scheduler.process.equipment import LiveDevice
from scheduler.process.leader import Leadership
from scheduler.process.live import LiveJob, LiveMember, LiveSample, LiveStep, LiveTask
from scheduler.states import JOB_TRANSITIONS, SAMPLE_TRANSITIONS, STEP_TRANSITIONS, JobState, StepState


class ForbiddenTransitionError(Exception):
    """A change of state that the table of transitions does not allow: a defect of the scheduler."""


_STEP = (
    "state", "reason", "dormant", "attempt", "planned_start_lab_s", "planned_end_lab_s", "granted_at", "deadline_at",
    "started_lab_s", "ended_lab_s", "ended_at", "failures", "not_before_lab_s", "expected_s", "expected_low_s",
    "expected_high_s", "question",
)  # fmt: skip
_PLANNED = ("planned_start_lab_s", "planned_end_lab_s")
_PREDICTED = (
    "predicted_start_lab_s", "predicted_finish_lab_s", "predicted_start_low_lab_s", "predicted_start_high_lab_s",
    "predicted_finish_low_lab_s", "predicted_finish_high_lab_s",
)  # fmt: skip
_JOB = (
    "state", "state_reason", "name", "priority", "deadline_at", "manifests", "started_lab_s", "finished_lab_s",
    "finished_at", *_PREDICTED, "samples_failed", "steps_total", "steps_done", "placed", "ending", "back_to", "weight",
)  # fmt: skip
_UNKNOWN = (None, None)
_SAMPLE = ("state", "reason", "contents", "source")
_MEMBER = ("run_uid", "ok", "error")
_TASK = ("parameters", "origins", "results")
_DEVICE = ("state", "reason", "attempt_id", "since_at", "host", "modules", "quarantine")


def _step_row(s: LiveStep) -> tuple[Any, ...]:
    return (
        s.state, s.reason, s.dormant, s.attempt, s.planned_start_s, s.planned_end_s, s.granted_at, s.deadline_at,
        s.started_s, s.ended_s, s.ended_at, s.failures, s.not_before_s, s.expected_s, s.expected_low_s,
        s.expected_high_s, s.question, s.id, s.stored,
    )  # fmt: skip


def _job_row(j: LiveJob) -> tuple[Any, ...]:
    return (
        j.state, j.reason, j.name, j.priority, j.deadline_at, j.manifests, j.started_s, j.finished_s, j.finished_at,
        *_predicted(j), j.samples_failed, j.steps_total, j.steps_done, j.placed,
        j.ending, j.back_to, j.weight, j.id, j.stored,
    )  # fmt: skip


def _predicted(j: LiveJob) -> tuple[float | None, ...]:
    return (
        j.predicted_start_s, j.predicted_finish_s, *(j.start_range or _UNKNOWN), *(j.finish_range or _UNKNOWN)
    )  # fmt: skip


def _device_row(d: LiveDevice) -> tuple[Any, ...]:
    return d.state, d.reason, d.attempt_id, d.since_at, d.host, d.modules, d.quarantine, d.id, d.stored


@dataclass(slots=True)
class Changes:
    """The changes of one turn.

    Attributes
    ----------
    lab_s
        Lab time of the turn.
    at
        Wall time of the turn.
    after_commit
        Called in order once all is durable: orders, doorbells, answers.
    """

    lab_s: float
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    happenings: list[Happening] = field(default_factory=list)
    steps: dict[str, LiveStep] = field(default_factory=dict)
    moved: dict[str, LiveStep] = field(default_factory=dict)
    """Steps of which nothing has changed but where they stand in the plan."""
    predicted: dict[str, LiveJob] = field(default_factory=dict)
    """Jobs of which nothing has changed but when they are to start and finish."""
    jobs: dict[str, LiveJob] = field(default_factory=dict)
    samples: dict[str, LiveSample] = field(default_factory=dict)
    members: dict[int, LiveMember] = field(default_factory=dict)
    tasks: dict[str, LiveTask] = field(default_factory=dict)
    devices: dict[str, LiveDevice] = field(default_factory=dict)
    places: dict[tuple[str, int], tuple[str | None, str | None]] = field(default_factory=dict)
    """(Resource, number) → the sample that held the place before, and the one that holds it now."""
    used: dict[str, float] = field(default_factory=dict)
    """Stock → amount taken out of it."""
    released: dict[str, float] = field(default_factory=dict)
    """Stock → amount that is no longer reserved."""
    requests: dict[str, str] = field(default_factory=dict)
    """Request → why it was refused, or empty."""
    renewed: dict[str, LiveStep] = field(default_factory=dict)
    """Steps that take longer or use more than was known when the job was accepted."""
    outbox: list[tuple[LiveJob, str]] = field(default_factory=list)
    """Jobs that people are to be told about, with the event's name."""
    writes: list[Callable[[], object]] = field(default_factory=list)
    """Rare further writes, done first in the same transaction."""
    last: list[Callable[[], object]] = field(default_factory=list)
    """Entries of the audit log: the last thing in the transaction, because they queue."""
    after_commit: list[Callable[[], None]] = field(default_factory=list)
    charges: Charges = field(default_factory=Charges)
    """What is to be added to the accounts."""
    plan_moved: int = 0
    """Steps that stand elsewhere in the plan than before."""

    # --- states

    def step(self, step: LiveStep, to: str, reason: str = "", *, actor: str = "", data: Any = None) -> None:
        """Move a step to another state."""
        _check("step", step.id, STEP_TRANSITIONS, step.state, to)
        self._log("step", step.id, step.job, step.state, to, actor, reason, data)
        step.state, step.reason = to, reason
        if to in _DONE:
            step.job.steps_done += 1
            self.jobs[step.job.id] = step.job
        self.steps[step.id] = step

    def job(self, job: LiveJob, to: str, reason: str = "", *, actor: str = "") -> None:
        """Move a job to another state."""
        _check("job", job.id, JOB_TRANSITIONS, job.state, to)
        self._log("job", job.id, job, job.state, to, actor, reason, {"samples_failed": job.samples_failed})
        job.state, job.reason = to, reason
        if to != JobState.NEEDS_OPERATOR:
            job.back_to = ""
        self.jobs[job.id] = job

    def sample(self, sample: LiveSample, to: str, reason: str = "", *, actor: str = "") -> None:
        """Move a sample to another state; what stands for no sample only remembers it."""
        _check("sample", sample.id or sample.job.id, SAMPLE_TRANSITIONS, sample.state, to)
        if sample.id is not None:
            self._log("sample", sample.id, sample.job, sample.state, to, actor, reason, None)
            self.samples[sample.id] = sample
        sample.state, sample.reason = to, reason

    def device(self, device: LiveDevice, to: str, reason: str = "", *, actor: str = "") -> None:
        """Note a device's state, if it is another one."""
        if device.state == to and device.reason == reason:
            return
        if device.state != to:
            self.happenings.append(
                Happening("device", device.id, None, None, device.state, to, actor, reason, {"host": device.host})
            )
            device.since_at = self.at
        device.state, device.reason = to, reason
        self.devices[device.id] = device

    # --- other values

    def touch(self, *things: LiveStep | LiveJob | LiveSample | LiveMember | LiveTask | LiveDevice) -> None:
        """Note that other values than the state have changed."""
        for thing in things:
            match thing:
                case LiveStep():
                    self.steps[thing.id] = thing
                case LiveJob():
                    self.jobs[thing.id] = thing
                case LiveSample() if thing.id is not None:
                    self.samples[thing.id] = thing
                case LiveMember():
                    self.members[thing.pk] = thing
                case LiveTask():
                    self.tasks[thing.id] = thing
                case LiveDevice():
                    self.devices[thing.id] = thing

    def happened(self, happening: Happening) -> None:
        """Log something that is no change of a state."""
        self.happenings.append(happening)

    def place(self, resource: str, index: int, before: str | None, after: str | None) -> None:
        """Note who holds a place now."""
        first = self.places.get((resource, index), (before, None))[0]
        self.places[resource, index] = (first, after)

    def use(self, stock: str, amount: float) -> None:
        """Take an amount out of a stock."""
        self.used[stock] = self.used.get(stock, 0.0) + amount

    def unreserve(self, stock: str, amount: float) -> None:
        """Give up a reservation."""
        self.released[stock] = self.released.get(stock, 0.0) + amount

    def _log(
        self, kind: str, subject: str, job: LiveJob, old: str, new: str, actor: str, reason: str, data: Any
    ) -> None:
        self.happenings.append(Happening(kind, subject, job.id, job.project_id, old, new, actor, reason, data or {}))

    # --- writing

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (
            self.happenings or self.steps or self.moved or self.predicted or self.jobs or self.samples or self.members
            or self.tasks or self.devices or self.places or self.used or self.released or self.requests or self.writes
        )  # fmt: skip

    def commit(self, leadership: Leadership, notify: Callable[[list[tuple[LiveJob, str]]], None]) -> None:
        """Write everything in one transaction, then do what waits for it.

        Raises
        ------
        LeadershipLostError
            If another scheduler leads; nothing was written.
        """
        if not self.empty:
            version = leadership.plan_version + bool(self.plan_moved)
            if self.plan_moved:
                self.happened(Happening("plan", str(version), data={"version": version, "moved": self.plan_moved}))
            seq = leadership.last_event_seq + len(self.happenings)
            with transaction.atomic():
                leadership.assert_mine(last_event_seq=seq, plan_version=version)
                self._write()
                events.append(self.happenings, after_seq=leadership.last_event_seq, at=self.at, lab_s=self.lab_s)
                notify(self.outbox)
                for write in self.last:
                    write()
            leadership.committed(last_event_seq=seq, plan_version=version)
            self._settle()
        for call in self.after_commit:
            call()

    def _write(self) -> None:
        # First of all, because these may make the very rows that are changed below.
        for write in self.writes:
            write()
        update_rows(Step, _STEP, map(_step_row, self.steps.values()), where=("id", "state"))
        # A whole plan may move, so these rows are narrow.
        update_rows(Step, _PLANNED, ((s.planned_start_s, s.planned_end_s, s.id) for s in self.moved.values()))
        update_rows(
            Job,
            (*_PREDICTED, "weight", "expected"),
            ((*_predicted(j), j.weight, j.expected, j.id) for j in self.predicted.values()),
        )
        update_rows(
            Step,
            ("duration_s", "consumes", "adds"),
            ((s.duration_s, s.consumes, s.adds, s.id) for s in self.renewed.values()),
        )
        update_rows(Job, _JOB, map(_job_row, self.jobs.values()), where=("id", "state"))
        update_rows(
            Sample,
            _SAMPLE,
            ((s.state, s.reason, s.contents, s.source, s.id, s.stored) for s in self.samples.values()),
            where=("id", "state"),
        )
        update_rows(StepMember, _MEMBER, ((m.run_uid, m.ok, m.error, m.pk) for m in self.members.values()))
        update_rows(Task, _TASK, ((t.parameters, t.origins, t.results, t.id) for t in self.tasks.values()))
        update_rows(
            Device,
            _DEVICE,
            (
                (d.state, d.reason, d.attempt_id, d.since_at, d.host, d.modules, d.quarantine, d.id, d.stored)
                for d in self.devices.values()
            ),
            where=("id", "state"),
        )
        self._write_places()
        update_rows(Request, ("applied_at", "refused"), ((self.at, text, pk) for pk, text in self.requests.items()))
        self._write_stocks()
        charge(self.charges, self.steps.values(), self.samples.values())
        self.charges.write(self.at)

    def _write_places(self) -> None:
        # Accepting a job claims places too, so the one that held it before is part of the condition.
        given = [(*key, old) for key, (old, new) in self.places.items() if old is not None and old != new]
        taken = [(new, self.lab_s, *key) for key, (old, new) in self.places.items() if new is not None and old != new]
        update_rows(
            Place,
            ("sample", "since_lab_s"),
            ((None, None, *row) for row in given),
            where=("resource", "index", "sample"),
        )
        update_rows(Place, ("sample", "since_lab_s"), taken, where=("resource", "index"), extra="sample_id IS NULL")

    def _write_stocks(self) -> None:
        # Relative, because accepted jobs reserve from the same rows. What rounding leaves of nothing is nothing.
        rows = [
            (self.used.get(stock, 0.0), self.released.get(stock, 0.0), self.released.get(stock, 0.0), stock)
            for stock in sorted({*self.used, *self.released})
        ]
        if rows:
            with connection.cursor() as cursor:
                cursor.executemany(
                    "UPDATE scheduler_stock SET level = level - %s,"
                    " reserved = CASE WHEN reserved - %s > 1e-9 THEN reserved - %s ELSE 0 END WHERE id = %s",
                    rows,
                )

    def _settle(self) -> None:
        groups: tuple[dict[str, Any], ...] = (self.steps, self.jobs, self.samples, self.devices)
        for group in groups:
            for thing in group.values():
                thing.stored = thing.state


_DONE = frozenset({StepState.COMPLETED, StepState.FAILED, StepState.ABORTED, StepState.SKIPPED, StepState.CANCELLED})


def _check(kind: str, subject: str, table: Mapping[str, frozenset[str]], old: str, new: str) -> None:
    if new not in table.get(old, frozenset()):
        raise ForbiddenTransitionError(f"{kind} {subject}: {old} → {new}")
