"""What server and hosts say to each other: orders over Celery, records in MongoDB, doorbells over Redis.

An **order** is self-contained: the host needs nothing else to do it. The host **claims** the order's attempt by
inserting the attempt record; its ``_id`` is ``<first step id>/<attempt number>``, so one insert decides every
race. All records carry ``schema_version``. Doorbells carry no truth: who hears one looks into the store.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from .manifest import DeviceMode

SCHEMA_VERSION: Literal[1] = 1

ORDER_TASK = "octolab.order"
"""Name of the Celery task that takes an order (one argument: the order as JSON object)."""

AttemptState = Literal["claimed", "running", "completed", "failed", "aborted", "interrupted", "withdrawn"]
CLOSED: tuple[str, ...] = ("completed", "failed", "aborted", "interrupted", "withdrawn")

ControlVerb = Literal["pause", "resume", "stop", "abort", "halt"]


def queue(instance: str) -> str:
    """Return the Celery queue of a module instance."""
    return f"module.{instance}"


SCHEDULER_BELL = "octolab:bell:scheduler"
"""Rung by web (new request, new job) and hosts (claim, close, device change); the scheduler then looks."""
LATCH_BELL = "latch"
"""What the scheduler's bell carries when an emergency stop has changed: it then looks at the latches at once."""
EVENTS_BELL = "octolab:bell:events"
"""Rung by the scheduler after it committed events; the web's tailer then reads on.

It may carry answers for who has just asked, as JSON: key (see :mod:`scheduler.services.placement`) → answer.
"""
LIVE_CHANNEL = "octolab:live"
"""Progress and readings from hosts, JSON :class:`Live`; unsequenced, may be lost."""
CONTROL_CHANNEL = "octolab:control"
"""Rung by the web or the scheduler after a control or the e-stop latch was written; carries it as JSON too."""


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Member(_Message):
    """One (task, sample) pair of a step."""

    task_id: str
    sample_id: str | None
    sample_name: str = ""
    parameters: dict[str, Any]
    """Resolved values: numbers in the unit that the manifest declares."""
    origins: dict[str, Any] = {}
    """Where parameters come from that are results of earlier tasks: parameter → ref, job, task, run_uid, value."""
    places: dict[str, int] = {}
    """Local resource name → number of the place (from 0) that the sample holds during the step."""
    run_uid: str
    """uid of the run document that the host writes for this member."""


class OrderedStep(_Message):
    """One attended step of an order."""

    step_id: str
    name: str
    action: str
    devices: dict[str, DeviceMode]
    """Device id → mode, all that the step may touch."""
    settings: dict[str, float] = {}
    """``<local device>.<setting>`` → value."""
    duration_s: float
    """Expected, lab seconds."""


class Order(_Message):
    """One step, or a block of steps that follow each other without a gap: one order, one claim."""

    schema_version: Literal[1] = SCHEMA_VERSION
    attempt_id: str
    attempt: int
    module: str
    """Module instance."""
    task: str
    """Task name in the manifest."""
    manifest_hash: str
    steps: tuple[OrderedStep, ...]
    members: tuple[Member, ...]
    job_id: str
    job_name: str
    project_id: str
    owner: str
    """Username, for the run's documents."""
    simulated: bool
    fence: int
    """Epoch of the scheduler that granted; a host refuses a lower one than it has seen."""
    granted_at: datetime
    deadline_at: datetime
    """Wall time (UTC) after which the host must not claim any more."""


class Outcome(_Message):
    """How one member's run ended."""

    task_id: str
    sample_id: str | None
    ok: bool
    run_uid: str
    results: dict[str, Any] = {}
    """Scalars by the names of the manifest's results."""
    arrays: dict[str, dict[str, Any]] = {}
    """Array name → reference: ``{"file": relative path, "sha256":, "bytes":, "path": path inside the file}``."""
    error: str = ""


class Attempt(_Message):
    """The attempt record, collection ``attempts``; ``_id`` is ``attempt_id``."""

    schema_version: Literal[1] = SCHEMA_VERSION
    attempt_id: str
    state: AttemptState
    nonce: str
    """Of the delivery that claimed it: a reader who finds its own nonce owns the claim."""
    host: str = ""
    incarnation: str = ""
    module: str = ""
    step_ids: tuple[str, ...] = ()
    claimed_lab_s: float | None = None
    started_lab_s: float | None = None
    """First step's action was entered."""
    first_command_lab_s: float | None = None
    ended_lab_s: float | None = None
    step_ends_lab_s: dict[str, float] = {}
    """step id → recorded end, for blocks and standby steps that follow."""
    touched: bool = False
    """Whether a command that is not a mere query may have reached a device."""
    last_command: str = ""
    """Device and text of the last command, for the operator's decision."""
    outcomes: tuple[Outcome, ...] = ()
    error: str = ""
    reason: str = ""
    broken: dict[str, str] = {}
    """Devices whose drivers have failed, and how: no answer, a lost link, nonsense. Not what an instrument refuses."""
    emergency: bool = False
    """Whether the emergency stop ended it, or kept it from beginning."""
    paused: bool = False
    """Whether it stands at a safe point and waits to be resumed."""


class HostRecord(_Message):
    """A host's heartbeat, collection ``hosts``; ``_id`` is the host's name. Renewed every second."""

    schema_version: Literal[1] = SCHEMA_VERSION
    host: str
    incarnation: str
    beat: int
    """Counts up; the scheduler measures by its own monotonic clock how long it stood still."""
    started_at: datetime
    modules: dict[str, str]
    """Module instance → manifest hash."""
    devices: dict[str, str]
    """Device id → state as the host sees it: ``idle``, ``busy``, ``error``, ``unknown``, ``offline``."""
    previous: tuple[str, ...] = ()
    """Incarnations of this host that are known to have ended."""


class Control(_Message):
    """A wish about a running attempt, collection ``controls``; ``_id`` is ``<attempt id>/<verb>/<number>``."""

    schema_version: Literal[1] = SCHEMA_VERSION
    attempt_id: str
    verb: ControlVerb
    actor: str
    reason: str = ""
    at: datetime


LATCH_LOG = "latch_log"
"""Collection of every trip and re-arm (:class:`Latch`); ``_id`` is ``<scope>/<serial>``."""


class Latch(_Message):
    """The emergency stop, collection ``latches``; ``_id`` is ``lab`` or a module instance."""

    schema_version: Literal[1] = SCHEMA_VERSION
    scope: str
    tripped: bool
    serial: int
    """Rises with every trip and re-arm, so that old news is known as such: wall milliseconds, or one more."""
    actor: str
    reason: str = ""
    at: datetime


class Live(_Message):
    """Progress or a reading of a running attempt."""

    job_id: str
    project_id: str
    owner: str
    attempt_id: str
    step_id: str
    progress: float | None = None
    reading: dict[str, Any] | None = None
    text: str = ""
