"""What each device does now and next, and what will move soon: as one user may know it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from scheduler.models import Job, Step
from scheduler.states import JobState, StepState

from . import words
from .plan import extent
from .thelab import lab_clock

BUSY = (
    StepState.GRANTED, StepState.DISPATCHED, StepState.RUNNING, StepState.PAUSING, StepState.PAUSED,
    StepState.INTERRUPTED,
)  # fmt: skip
STANDS_STILL = (StepState.PAUSED, StepState.INTERRUPTED)
SOON_REAL_S = 900.0
"""What starts within so many seconds of the people in the lab is listed as what moves next."""
MOST_SOON = 10
MOST_LET_GO = 5
_HORIZON_STEPS = 1000


@dataclass(frozen=True)
class Doing:
    """A step of a device, as one user may know it.

    Attributes
    ----------
    title
        What is done, or ``busy`` for other people's work.
    whose
        The job's name, or empty.
    uses
        Device id → whether it moves (*use*) or only has to stand still.
    until_lab_s
        When it is expected to end.
    """

    title: str
    whose: str
    job_id: UUID | None
    state: str
    uses: dict[str, str]
    start_lab_s: float
    until_lab_s: float
    person: bool

    moves: str
    """The devices that it moves, in words; empty if it moves none."""

    @property
    def begun(self) -> bool:
        """Whether it is under way, as far as anybody knows."""
        return self.state not in (StepState.WAITING, StepState.GRANTED)


@dataclass
class Hands:
    """What a device has its hands on."""

    now: Doing | None = None
    next: Doing | None = None


def doings(user: Any) -> tuple[dict[str, Hands], list[Doing]]:
    """Return what each device (by id) does now and next, and what moves now and soon in the whole lab."""
    clock = lab_clock()
    now_s = clock.now()
    attended = Step.objects.filter(action__isnull=False, dormant=False)
    busy = attended.filter(state__in=BUSY).order_by("started_lab_s", "planned_start_lab_s")
    planned = attended.filter(state=StepState.WAITING, planned_start_lab_s__isnull=False)
    steps = [*busy, *planned.order_by("planned_start_lab_s")[:_HORIZON_STEPS]]
    now, after = _by_device(steps)
    soon = [step for step in steps if _moves_soon(step, now_s + SOON_REAL_S * clock.scale)]
    soon.sort(key=lambda step: (step.state == StepState.WAITING, step.planned_start_lab_s or 0.0))
    chosen = {step.pk: step for step in (*now.values(), *after.values(), *soon[:MOST_SOON])}
    told = _told(chosen.values(), user, now_s)
    hands = {
        device: Hands(
            told[now[device].pk] if device in now else None, told[after[device].pk] if device in after else None
        )
        for device in now.keys() | after.keys()
    }
    return hands, [told[step.pk] for step in soon[:MOST_SOON]]


def let_go(devices: Collection[str], user: Any) -> list[Doing]:
    """Return what would start first on these devices (ids) if nothing kept them any more, in the order of the plan."""
    waiting = Step.objects.filter(
        action__isnull=False, dormant=False, state=StepState.WAITING, planned_start_lab_s__isnull=False
    ).exclude(job__state__in=[JobState.HELD, JobState.PAUSED, JobState.AWAITING_APPROVAL])
    rows = waiting.order_by("planned_start_lab_s")[:_HORIZON_STEPS]
    first = [step for step in rows if any(step.devices.get(device) == "use" for device in devices)][:MOST_LET_GO]
    told = _told(first, user, lab_clock().now())
    return [told[step.pk] for step in first]


def _by_device(steps: Iterable[Step]) -> tuple[dict[str, Step], dict[str, Step]]:
    """Return each device's present step, and the first that is planned for it."""
    now: dict[str, Step] = {}
    after: dict[str, Step] = {}
    for step in steps:
        for device in step.devices:
            (after if step.state == StepState.WAITING else now).setdefault(device, step)
    return now, after


def _moves_soon(step: Step, until_s: float) -> bool:
    if step.state in STANDS_STILL or "use" not in step.devices.values():
        return False
    return step.state != StepState.WAITING or (step.planned_start_lab_s or 0.0) <= until_s


def _told(steps: Iterable[Step], user: Any, now_s: float) -> dict[UUID, Doing]:
    """Return step id → what one user may know of it."""
    steps = list(steps)
    ids = {step.job_id for step in steps}
    mine = dict(Job.objects.visible_to(user).filter(id__in=ids).values_list("id", "name"))
    named = dict(Job.objects.filter(id__in=ids, project__shows_names=True).values_list("id", "name"))
    told = {}
    for step in steps:
        known = step.job_id in mine
        start_s, until_s = extent(step, now_s)
        told[step.pk] = Doing(
            words.step(step) if known else "busy",
            mine.get(step.job_id) or named.get(step.job_id, ""),
            step.job_id if known else None,
            step.state,
            step.devices,
            max(start_s, now_s) if step.started_lab_s is None else start_s,
            until_s,
            step.person,
            words.used(step),
        )
    return told
