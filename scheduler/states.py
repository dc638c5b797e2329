"""All states, and every transition that is allowed, in one place."""

from __future__ import annotations

from django.db import models


class JobState(models.TextChoices):
    """States of a job."""

    AWAITING_APPROVAL = "awaiting_approval"
    QUEUED = "queued"
    RUNNING = "running"
    HELD = "held"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    NEEDS_OPERATOR = "needs_operator"


class SampleState(models.TextChoices):
    """States of a sample."""

    PLANNED = "planned"
    ACTIVE = "active"
    PARKED = "parked"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StepState(models.TextChoices):
    """States of a step."""

    WAITING = "waiting"
    GRANTED = "granted"
    DISPATCHED = "dispatched"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    ABORTED = "aborted"
    INTERRUPTED = "interrupted"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class DeviceState(models.TextChoices):
    """States of a device."""

    OFFLINE = "offline"
    IDLE = "idle"
    BUSY = "busy"
    UNKNOWN = "unknown"
    ERROR = "error"
    MAINTENANCE = "maintenance"
    ESTOPPED = "estopped"


J, S, T = JobState, SampleState, StepState

JOB_FINAL = frozenset({J.COMPLETED, J.FAILED, J.CANCELLED})
SAMPLE_FINAL = frozenset({S.COMPLETED, S.FAILED, S.CANCELLED})
STEP_FINAL = frozenset({T.COMPLETED, T.FAILED, T.ABORTED, T.SKIPPED, T.CANCELLED})

JOB_TRANSITIONS: dict[str, frozenset[str]] = {
    J.AWAITING_APPROVAL: frozenset({J.QUEUED, J.CANCELLED}),
    J.QUEUED: frozenset({J.RUNNING, J.HELD, J.CANCELLED, J.FAILED}),
    J.RUNNING: frozenset({J.HELD, J.PAUSED, J.CANCELLING, J.COMPLETED, J.FAILED, J.NEEDS_OPERATOR}),
    J.HELD: frozenset({J.QUEUED, J.RUNNING, J.CANCELLING, J.CANCELLED, J.FAILED, J.NEEDS_OPERATOR}),
    J.PAUSED: frozenset({J.RUNNING, J.CANCELLING, J.FAILED, J.NEEDS_OPERATOR}),
    J.CANCELLING: frozenset({J.CANCELLED, J.COMPLETED, J.FAILED, J.NEEDS_OPERATOR}),
    J.NEEDS_OPERATOR: frozenset({J.RUNNING, J.HELD, J.PAUSED, J.CANCELLING, J.FAILED, J.CANCELLED, J.COMPLETED}),
}
SAMPLE_TRANSITIONS: dict[str, frozenset[str]] = {
    S.PLANNED: frozenset({S.ACTIVE, S.CANCELLED, S.FAILED}),
    S.ACTIVE: frozenset({S.PARKED, S.COMPLETED, S.FAILED, S.CANCELLED}),
    S.PARKED: frozenset({S.ACTIVE, S.COMPLETED, S.FAILED, S.CANCELLED}),
}
STEP_TRANSITIONS: dict[str, frozenset[str]] = {
    T.WAITING: frozenset({T.GRANTED, T.RUNNING, T.SKIPPED, T.CANCELLED}),
    T.GRANTED: frozenset({T.DISPATCHED, T.WAITING, T.CANCELLED}),
    T.DISPATCHED: frozenset({T.RUNNING, T.COMPLETED, T.FAILED, T.ABORTED, T.INTERRUPTED, T.WAITING, T.CANCELLED}),
    T.RUNNING: frozenset(
        {T.PAUSING, T.PAUSED, T.COMPLETED, T.FAILED, T.ABORTED, T.INTERRUPTED, T.WAITING, T.CANCELLED}
    ),
    T.PAUSING: frozenset({T.PAUSED, T.RUNNING, T.COMPLETED, T.FAILED, T.ABORTED, T.INTERRUPTED, T.WAITING}),
    T.PAUSED: frozenset({T.RUNNING, T.COMPLETED, T.ABORTED, T.FAILED, T.INTERRUPTED, T.WAITING}),
    T.INTERRUPTED: frozenset({T.COMPLETED, T.FAILED, T.WAITING, T.CANCELLED}),
}
