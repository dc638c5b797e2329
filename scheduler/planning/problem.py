"""The problem: what has to be done, with what, and under which rules.

Everything is a frozen dataclass of plain values, so a problem is data: it can be written to JSON
(`scheduler.planning.codec`), compared, hashed and sent to another process. All times are integer ticks since
the problem's origin; `Problem.tick` states how many seconds a tick lasts. Ids are opaque strings.

The model is the resource-constrained project scheduling problem with minimum and maximum time lags (Bartusch,
Moehring and Radermacher 1988), with the additions a laboratory needs: devices that must keep still, holds
that last from one step to another, settings that are shared, batches, cleaning, stocks, and work that already
runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Point = Literal["start", "end"]
FixedState = Literal["running", "frozen", "completed"]

LARGEST = 2**53
"""No number of a problem is larger: up to here whole numbers are exact for everybody who reads JSON."""


class ProblemError(ValueError):
    """A problem that contradicts itself; `reasons` holds one sentence for each contradiction."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


@dataclass(frozen=True, slots=True)
class Use:
    """A device that a step occupies: alone, or only `still`, which other still steps may share."""

    device: str
    still: bool = False


@dataclass(frozen=True, slots=True)
class Demand:
    """Units of a cumulative resource that a step takes while it runs."""

    resource: str
    quantity: int = 1


@dataclass(frozen=True, slots=True)
class Draw:
    """Units of a stock: positive are taken when the step starts, negative are added when it ends."""

    stock: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Mode:
    """One way to run a step: its duration in ticks and all that it occupies meanwhile."""

    duration: int
    uses: tuple[Use, ...] = ()
    demands: tuple[Demand, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """The smallest thing that is scheduled.

    Attributes
    ----------
    id
        Unique in the problem.
    modes
        At least one; the planner chooses.
    min_gap, max_gap
        Least and greatest wait in ticks between this step's end and the start of the next step of its task;
        `None` means any. Both zero makes a block: the next step follows without a gap. A gap is standby.
    gap_cost
        `None` makes `max_gap` hard; otherwise each tick beyond it costs this much (a soft window).
    draws
        Stocks that are taken or filled.
    family
        Setup family, needed on devices that have `setups`.
    batch, batch_size
        Steps with the same batch key and duration may share one run of a device whose `batch` is greater than
        one, as long as their sizes sum to no more than that.
    earliest
        No start before this tick.
    """

    id: str
    modes: tuple[Mode, ...]
    min_gap: int = 0
    max_gap: int | None = None
    gap_cost: int | None = None
    draws: tuple[Draw, ...] = ()
    family: str | None = None
    batch: str | None = None
    batch_size: int = 1
    earliest: int = 0


@dataclass(frozen=True, slots=True)
class Task:
    """One operation of one module: a chain of steps, each starting no earlier than its predecessor ends."""

    id: str
    steps: tuple[Step, ...]
    module: str = ""


@dataclass(frozen=True, slots=True)
class Lag:
    """A bound on the time between a point of one step and a point of another.

    ``min <= time(second) - time(first) <= max`` in ticks; either bound may be `None`, and `min` may be
    negative. The minimum always holds. With a `cost` the maximum is a soft window: each tick beyond it costs
    this much.
    """

    first: str
    second: str
    first_point: Point = "end"
    second_point: Point = "start"
    min: int | None = 0
    max: int | None = None
    cost: int | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """Capacity that is kept from the start of step `first` until the end of step `last`, e.g. a vial slot.

    `resource` is a cumulative resource, or a device: a held device is closed to everybody else. For a device
    both steps belong to one task, and the steps of that task between them may use it.
    """

    resource: str
    first: str
    last: str
    quantity: int = 1


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of a device that must stay at `value` from the start of `first` until the end of `last`.

    Holders of the same value share the device's setting, others exclude each other; between different values
    the device's `setups` apply, with the values as families. The steps themselves need not use the device.
    """

    device: str
    value: str
    first: str
    last: str


@dataclass(frozen=True, slots=True)
class Job:
    """What one user asked for.

    Attributes
    ----------
    tasks
        Chains of steps. Nothing is implied between tasks: see `lags`.
    lags, holds, settings
        Rules between steps of this job.
    user, project
        Opaque; used for fair share and explanations only.
    weight
        Positive; multiplies the job's flow time in the objective.
    release
        No step starts before this tick; flow time counts from here.
    due
        Finishing later is tardiness (a preference). `deadline` is hard.
    """

    id: str
    tasks: tuple[Task, ...]
    lags: tuple[Lag, ...] = ()
    holds: tuple[Hold, ...] = ()
    settings: tuple[Setting, ...] = ()
    user: str = ""
    project: str = ""
    weight: int = 1
    release: int = 0
    due: int | None = None
    deadline: int | None = None

    def steps(self) -> Iterator[Step]:
        """Yield the job's steps in file order."""
        for task in self.tasks:
            yield from task.steps


@dataclass(frozen=True, slots=True)
class Blocked:
    """A half-open interval in ticks during which a device is not available (maintenance, closing time)."""

    start: int
    end: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Outage:
    """A half-open interval in ticks during which `quantity` units of a resource are missing."""

    start: int
    end: int
    quantity: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Setup:
    """Ticks that must lie between a use of family `before` and the next use of family `after`."""

    before: str
    after: str
    duration: int


@dataclass(frozen=True, slots=True)
class Device:
    """One instrument.

    `state` is the family (or setting) it has at `Problem.now`; `batch` the greatest total size of a batch.
    """

    id: str
    blocked: tuple[Blocked, ...] = ()
    setups: tuple[Setup, ...] = ()
    state: str | None = None
    batch: int = 1


@dataclass(frozen=True, slots=True)
class Resource:
    """Something with `capacity` equal units: vial slots, furnace places."""

    id: str
    capacity: int
    outages: tuple[Outage, ...] = ()


@dataclass(frozen=True, slots=True)
class Refill:
    """A delivery: `quantity` units are added at tick `time`."""

    time: int
    quantity: int


@dataclass(frozen=True, slots=True)
class Stock:
    """A consumable that starts at `level` (at the problem's origin) and must never fall below `minimum`."""

    id: str
    level: int
    refills: tuple[Refill, ...] = ()
    minimum: int = 0


@dataclass(frozen=True, slots=True)
class Fixed:
    """Where a step that may not be moved stands.

    `running`: started at `start`, expected to end at `end`, which may be later than its mode says. `frozen`:
    planned, not to be moved. `completed`: the past. Rules between two fixed steps are facts and are not
    judged again.
    """

    step: str
    start: int
    end: int
    mode: int = 0
    state: FixedState = "running"


@dataclass(frozen=True, slots=True)
class Problem:
    """All that a planner may know. Nothing that is not fixed may start before `now`."""

    jobs: tuple[Job, ...]
    devices: tuple[Device, ...] = ()
    resources: tuple[Resource, ...] = ()
    stocks: tuple[Stock, ...] = ()
    lags: tuple[Lag, ...] = ()
    fixed: tuple[Fixed, ...] = ()
    now: int = 0
    tick: float = 1.0
    name: str = ""

    def steps(self) -> Iterator[Step]:
        """Yield every step in file order."""
        for job in self.jobs:
            yield from job.steps()

    def index(self) -> Index:
        """Return look-up tables by id."""
        return Index.of(self)


@dataclass(slots=True)
class Index:
    """Look-up tables of a problem: build once, use often."""

    problem: Problem
    step: dict[str, Step] = field(default_factory=dict)
    task_of: dict[str, Task] = field(default_factory=dict)
    job_of: dict[str, Job] = field(default_factory=dict)
    fixed: dict[str, Fixed] = field(default_factory=dict)
    device: dict[str, Device] = field(default_factory=dict)
    resource: dict[str, Resource] = field(default_factory=dict)
    stock: dict[str, Stock] = field(default_factory=dict)

    @classmethod
    def of(cls, problem: Problem) -> Index:
        """Build the tables of `problem`."""
        index = cls(problem)
        for job in problem.jobs:
            for task in job.tasks:
                for step in task.steps:
                    index.step[step.id] = step
                    index.task_of[step.id] = task
                    index.job_of[step.id] = job
        index.fixed = {fixed.step: fixed for fixed in problem.fixed}
        index.device = {device.id: device for device in problem.devices}
        index.resource = {resource.id: resource for resource in problem.resources}
        index.stock = {stock.id: stock for stock in problem.stocks}
        return index


def chain_lags(task: Task) -> Iterator[Lag]:
    """Yield the lags that a task's chain stands for."""
    for step, after in zip(task.steps, task.steps[1:], strict=False):
        yield Lag(step.id, after.id, min=step.min_gap, max=step.max_gap, cost=step.gap_cost)


def all_lags(problem: Problem) -> Iterator[Lag]:
    """Yield every lag of the problem: of chains, of jobs, and between jobs."""
    for job in problem.jobs:
        for task in job.tasks:
            yield from chain_lags(task)
        yield from job.lags
    yield from problem.lags
