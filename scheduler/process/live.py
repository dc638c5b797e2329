"""The live state: what the scheduler knows of everything that is not final, rebuilt from the database at start.

Ids are text here. Times ending in ``_s`` are lab seconds.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from scheduler.planning.fairness import NORMAL
from scheduler.process.duty import Duty
from scheduler.process.equipment import LiveDevice, Places
from scheduler.states import JOB_FINAL, SAMPLE_FINAL, STEP_FINAL, JobState, SampleState, StepState

ATTENDED = frozenset({StepState.DISPATCHED, StepState.RUNNING, StepState.PAUSING, StepState.PAUSED})
"""States of a step that has an attempt at a host, or an order under way."""
OCCUPYING = ATTENDED | {StepState.GRANTED, StepState.INTERRUPTED}
"""States of an attended step in which it keeps its devices."""


@dataclass(slots=True, eq=False)
class LiveSample:
    """A sample, or (without an id) what stands for the steps of a job that belong to no sample."""

    id: str | None
    job: LiveJob
    name: str = ""
    index: int = 0
    state: str = SampleState.PLANNED
    stored: str = SampleState.PLANNED
    reason: str = ""
    source: dict[str, Any] = field(default_factory=dict)
    contents: list[dict[str, Any]] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)
    """Resource → number of the place, in the order in which they were taken."""
    steps: list[LiveStep] = field(default_factory=list)

    @property
    def final(self) -> bool:
        """Whether its state is final; it may still wait for its clean-up."""
        return self.state in SAMPLE_FINAL

    @property
    def lost(self) -> bool:
        """Whether nothing but its clean-up is done any more."""
        return self.state in (SampleState.FAILED, SampleState.CANCELLED)


@dataclass(slots=True, eq=False)
class LiveTask:
    """A task: parameters and results, for references and orders."""

    id: str
    key: str
    module: str
    task: str
    parameters: dict[str, Any]
    results: dict[str, Any] | None
    cleanup: bool
    origins: dict[str, Any] = field(default_factory=dict)
    """Where values come from that were references."""
    policy: Any = None
    """What its job wants to happen when it fails (:class:`scheduler.process.policy.Policy`), if it says so."""


@dataclass(slots=True, eq=False)
class LiveMember:
    """One (task, sample) pair of a step."""

    pk: int
    task: LiveTask
    sample: LiveSample
    run_uid: str | None = None
    ok: bool | None = None
    error: str = ""


@dataclass(slots=True, frozen=True)
class Need:
    """A lag from another step's end to this step's start."""

    step: str
    min_s: float = 0.0
    max_s: float | None = None
    on_breach: str = "flag"


@dataclass(slots=True, eq=False)
class LiveStep:
    """A step of a job that is not final."""

    id: str
    job: LiveJob
    index: int
    name: str
    module: str
    task_name: str
    action: str | None
    dormant: bool
    block: str
    state: str
    reason: str
    attempt: int
    devices: dict[str, str]
    takes: list[str]
    frees: list[str]
    settings: dict[str, Any]
    consumes: dict[str, float]
    adds: dict[str, Any] | None
    needs: list[Need]
    duration_s: float
    planned_start_s: float | None
    planned_end_s: float | None
    granted_at: datetime | None
    deadline_at: datetime | None
    started_s: float | None
    ended_s: float | None
    ended_at: datetime | None
    failures: int = 0
    """How many of its attempts have failed."""
    not_before_s: float = 0.0
    """Lab time before which the unit that it begins is not ordered: after a refusal, or as its task's policy pauses."""
    expected_s: float | None = None
    expected_low_s: float | None = None
    expected_high_s: float | None = None
    """How long it was expected to take when its order went out; None if that says nothing."""
    person: bool = False
    """Whether a person does it."""
    question: dict[str, Any] | None = None
    """What an operator has to decide before it may start, or has decided."""
    kind: str = ""
    """What it is learnt from and for; see :mod:`scheduler.process.predictions`."""
    learnt_s: float | None = None
    """How long it is planned for; ``duration_s`` if nothing is known of its kind."""
    told_s: tuple[float, float] | None = None
    """Its planned start and end as they were last written down."""
    drawn: Any = None
    """Itself as part of a planning problem, as it was last (:mod:`scheduler.process.problem`)."""
    stored: str = StepState.WAITING
    members: list[LiveMember] = field(default_factory=list)
    followers: list[LiveStep] = field(default_factory=list)
    """Steps that need this one."""
    unit: Unit = None  # type: ignore[assignment]

    @property
    def standby(self) -> bool:
        """Whether it occupies no device and ends by lab time."""
        return self.action is None

    @property
    def final(self) -> bool:
        """Whether its state is final."""
        return self.state in STEP_FINAL

    @property
    def waiting(self) -> bool:
        """Whether it is still to be started."""
        return self.state == StepState.WAITING and not self.dormant

    @property
    def asks(self) -> bool:
        """Whether it waits for an operator's decision before it may start."""
        return self.waiting and self.question is not None and "answer" not in self.question

    @property
    def alive(self) -> list[LiveMember]:
        """Members that the step is done for: a clean-up for lost samples, anything else for the others."""
        return [m for m in self.members if m.task.cleanup or not m.sample.lost]


@dataclass(slots=True, eq=False)
class Unit:
    """What is granted together: the steps of a block, or one step."""

    id: str
    steps: list[LiveStep]
    order: tuple[float, ...] = (float("inf"),)
    """Position in the plan; see :mod:`scheduler.process.plan`."""
    early: bool = True
    """Whether it may start before its planned time as soon as everything before it is done."""
    devices: dict[str, str] = field(default_factory=dict)
    """Device → the strictest mode of any of its steps."""
    takes: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    outer: list[Need] = field(default_factory=list)
    """Needs that point to steps outside."""
    queued: bool = False
    ends: str = ""
    """Which ``device.setting`` it switches off, once nobody holds that any more."""
    awaits: bool = False
    """Whether a value that it needs, from another job of the campaign, is not known yet."""
    touched: bool = False
    """Whether an earlier attempt may have moved something."""
    refusals: int = 0
    """How often a host has refused the order, and nothing was begun."""
    claimed: bool = False
    """Whether its attempt's record is known to exist."""
    granted_s: float = 0.0
    """Lab time at which its order went out."""
    sent_at_s: float = 0.0
    """Monotonic time at which its order last went out."""
    host: str = ""
    incarnation: str = ""

    def gather(self) -> None:
        """Derive what the whole unit occupies from its steps."""
        self.steps.sort(key=lambda step: step.index)
        ids = {step.id for step in self.steps}
        for step in self.steps:
            for device, mode in step.devices.items():
                if mode == "use" or device not in self.devices:
                    self.devices[device] = mode
            self.takes.extend(step.takes)
            self.settings.update(step.settings)
            self.outer.extend(need for need in step.needs if need.step not in ids)

    @property
    def first(self) -> LiveStep:
        """The step that gives the unit its id."""
        return self.steps[0]

    @property
    def job(self) -> LiveJob:
        """The job it belongs to."""
        return self.steps[0].job

    @property
    def attempt_id(self) -> str:
        """Id of the present attempt."""
        return f"{self.id}/{self.steps[0].attempt}"

    @property
    def standby(self) -> bool:
        """Whether it needs nobody."""
        return self.steps[0].action is None

    @property
    def person(self) -> bool:
        """Whether a person does it, so that no host has anything to do with it."""
        return self.steps[0].person

    @property
    def waiting(self) -> bool:
        """Whether it is still to be started."""
        return self.steps[0].waiting

    @property
    def schedulable(self) -> bool:
        """Whether it may start; what switches a setting off may do so while its job is held or paused."""
        return self.job.schedulable or (bool(self.ends) and self.job.state in (JobState.HELD, JobState.PAUSED))

    @property
    def state(self) -> str:
        """State of the first step that is not final, or of the last one."""
        return next((step.state for step in self.steps if not step.final), self.steps[-1].state)

    @property
    def duration_s(self) -> float:
        """Expected length of all its steps."""
        return sum(step.duration_s for step in self.steps)


@dataclass(slots=True, eq=False)
class LiveJob:
    """A job that is not final."""

    id: str
    name: str
    project_id: str
    owner_id: str
    owner: str
    state: str
    stored: str
    reason: str
    priority: int
    deadline_at: datetime | None
    simulated: bool
    retries: int
    manifests: dict[str, str]
    submitted_s: float
    started_s: float | None
    finished_s: float | None
    finished_at: datetime | None
    predicted_start_s: float | None
    predicted_finish_s: float | None
    samples_total: int
    samples_failed: int
    steps_total: int
    steps_done: int
    placed: bool
    ending: dict[str, str] | None = None
    """How it was asked to end, by whom and why."""
    back_to: str = ""
    """What it was when it came to need an operator: held or paused, or empty."""
    manual: bool = False
    """Run by hand by an operator."""
    campaign: str = ""
    """Its campaign, if it belongs to one."""
    weight: dict[str, Any] | None = None
    """The parts of its weight, as they are stored and shown."""
    turn: int = 0
    """Its place among the jobs that have not begun; see :mod:`scheduler.process.shares`."""
    plan_weight: int = NORMAL
    start_range: tuple[float, float] | None = None
    finish_range: tuple[float, float] | None = None
    """Between which it starts and finishes in four of five cases, lab seconds."""
    alone_s: float | None = None
    """How long it would take in an empty lab; None until it is planned."""
    expects: int = 0
    """How many more jobs like it will follow; see :mod:`scheduler.process.cycles`."""
    expected: list[list[Any]] = field(default_factory=list)
    """Where the steps of these stand in the plan: ``[cycle, start, end, devices]`` (lab seconds)."""
    told: Any = None
    """Its first prediction (:class:`scheduler.process.predictions.Told`); None if a person has held it since."""
    told_last: Any = None
    policies: dict[int, Any] = field(default_factory=dict)
    """Position in the workflow → what the job wants to happen when that task fails."""
    samples: list[LiveSample] = field(default_factory=list)
    steps: list[LiveStep] = field(default_factory=list)
    units: list[Unit] = field(default_factory=list)
    tasks: list[LiveTask] = field(default_factory=list)

    @property
    def final(self) -> bool:
        """Whether its state is final."""
        return self.state in JOB_FINAL

    @property
    def how(self) -> str:
        """How it was asked to end: ``cancel``, ``stop``, ``abort``, ``halt``, or empty."""
        return self.ending["how"] if self.ending else ""

    @property
    def schedulable(self) -> bool:
        """Whether its steps may start. While it is cancelled clean-up goes on; while it waits for an operator the
        rest of it does, unless it was held or paused."""
        if self.state == JobState.NEEDS_OPERATOR:
            return not self.back_to
        return self.state in (JobState.QUEUED, JobState.RUNNING, JobState.CANCELLING)


class LabState:
    """Everything that is not final, and the lab's devices, places and hosts."""

    def __init__(self) -> None:
        self.jobs: dict[str, LiveJob] = {}
        self.steps: dict[str, LiveStep] = {}
        self.units: dict[str, Unit] = {}
        self.samples: dict[str, LiveSample] = {}
        self.devices: dict[str, LiveDevice] = {}
        self.places = Places()
        self.hosts_alive: set[str] = set()
        self.manifests: dict[str, str] = {}
        """Module instance → hash of the manifest that its host serves."""
        self.setting_holders: dict[str, dict[str, Any]] = defaultdict(dict)
        """``device.setting`` → holder (sample or job id) → value, while it is held."""
        self.endings: dict[str, Unit] = {}
        """``device.setting`` → what is called for to switch it off."""
        self.estopped: set[str] = set()
        """Scopes (``lab`` or a module) whose emergency stop is tripped."""
        self.emergency_seen = False
        """Whether a host has told of an emergency stop: the latches are to be looked at before anything is granted."""
        self.duty = Duty()
        """When people may be asked."""
        self.stocks: dict[str, float] = {}
        """Stock → what there is, in its unit."""
        self.held_at_start: list[tuple[float, str, int, str]] = []
        """Places that were held when the process started: (since, resource, number, sample), oldest first."""

    def short_of(self, step: LiveStep) -> str | None:
        """Return a stock that has run out for a step; None if there is enough of everything."""
        for stock, amount in step.consumes.items():
            if self.stocks.get(stock, amount) < amount * (1 - 1e-6):
                return stock
        return None

    def add(self, job: LiveJob) -> None:
        """Take in a job, and connect its steps."""
        self.jobs[job.id] = job
        for sample in job.samples:
            if sample.id is not None:
                self.samples[sample.id] = sample
        for unit in job.units:
            self.units[unit.id] = unit
        for step in job.steps:
            self.steps[step.id] = step
        for step in job.steps:
            for need in step.needs:
                before = self.steps.get(need.step)
                if before is not None:
                    before.followers.append(step)

    def forget(self, job: LiveJob) -> None:
        """Drop a job that is final."""
        del self.jobs[job.id]
        for step in job.steps:
            self.steps.pop(step.id, None)
        for unit in job.units:
            self.units.pop(unit.id, None)
        for sample in job.samples:
            if sample.id is not None:
                self.samples.pop(sample.id, None)
