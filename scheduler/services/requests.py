"""Wishes that the scheduler applies: cancel, decide, refill, collect. Changing a job: :mod:`scheduler.services.jobs`.

Each verb checks what can be told at once, writes a `Request` row, rings the scheduler and waits a moment for its answer
(``wait_s`` real seconds; 0 for callers that wait in an event loop, see :mod:`scheduler.api.verbs`). The row counts:
an answer that comes too late is still found there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from scheduler.doorbell import ring_scheduler
from scheduler.models import Job, Request, Sample, Step, Stock
from scheduler.services import bench
from scheduler.services.placement import reply_key, wait_for
from scheduler.services.verbs import already, legal, refusal
from scheduler.states import JobState, StepState
from users.models import User
from users.permissions import may_change, require

WAIT_S = 0.5
"""How long a verb waits for the scheduler (real seconds)."""
_POLL_S = 0.02

_WHO = {"halt": "Only operators of all modules of a job may halt it."}
BREACHED = ("continue", "skip", "abort")
"""What may be decided about a step that would start too late."""
STEP_VERBS: dict[str, frozenset[str]] = {StepState.INTERRUPTED: frozenset({"decide"})}


class IllegalStateError(ValueError):
    """The verb is not possible in the present state.

    Attributes
    ----------
    state
        The present state.
    legal
        The verbs that are possible instead.
    """

    def __init__(self, state: str, legal: frozenset[str], message: str = "") -> None:
        self.state, self.legal = state, legal
        super().__init__(message or (refusal(state, legal) if state in JobState.values else f"This is {state}."))


@dataclass(frozen=True)
class Answer:
    """What became of a request.

    Attributes
    ----------
    applied
        Whether the scheduler has applied it; False means that it has not answered yet.
    """

    request: Request
    applied: bool


def control_job(user: User, job: Job, verb: str, reason: str = "", *, wait_s: float = WAIT_S) -> Answer:
    """Ask for one of :data:`~scheduler.services.verbs.CONTROLS`. If the job is so already, nothing is asked for.

    Raises
    ------
    IllegalStateError
        If the verb is not possible in the job's present state.
    PermissionDenied
        If the user is neither the job's owner nor an admin of its project; for ``halt``, if the user does not operate
        all modules of the job.
    """
    require(
        may_control(user, job, verb), _WHO.get(verb, f"Only the job's owner and admins of its project may {verb} it.")
    )
    if already(verb, job):
        earlier = Request.objects.filter(job=job, verb=verb, refused="").order_by("-id").first()
        return Answer(earlier or Request(verb=verb, actor=user, job=job, applied_at=timezone.now()), applied=True)
    _check_job(job, verb)
    return ask(verb, user, job, wait_s, reason=reason)


def may_control(user: User, job: Job, verb: str) -> bool:
    """Tell whether the user may ask for a verb: halting is for those who operate all modules of the job."""
    if verb != "halt":
        return may_change(user, job)
    return user.operates() and all(map(user.operates, job.steps.values_list("module", flat=True).distinct()))


def cancel_job(user: User, job: Job, reason: str = "", *, wait_s: float = WAIT_S) -> Answer:
    """Ask for the end of a job: what waits is dropped, what runs is aborted, samples are put away."""
    return control_job(user, job, "cancel", reason, wait_s=wait_s)


def decide(user: User, step: Step, decision: str, note: str, *, wait_s: float = WAIT_S) -> Answer:
    """Say what an interrupted step was: ``done``, ``failed``, or to ``repeat``; the note says what was seen.

    Or say what becomes of a step that would start too late: ``continue``, ``skip`` the sample, or ``abort`` the job.

    Raises
    ------
    IllegalStateError
        If the step does not wait for a decision, or cannot be repeated yet.
    PermissionDenied
        If the user does not operate the step's module.
    """
    require(user.operates(step.module), f"Only operators of {step.module} may decide about its steps.")
    if asks(step):
        if decision not in BREACHED:
            raise IllegalStateError(step.state, frozenset(BREACHED), f"Decide: {', '.join(BREACHED)}.")
        return ask("settle", user, step.job, wait_s, step=str(step.pk), decision=decision, note=note)
    if "decide" not in STEP_VERBS.get(step.state, frozenset()):
        raise IllegalStateError(step.state, STEP_VERBS.get(step.state, frozenset()))
    return ask("decide", user, step.job, wait_s, step=str(step.pk), decision=decision, note=note)


def asks(step: Step) -> bool:
    """Tell whether a step waits for a decision before it may start: its window is broken, and the job says ask."""
    return step.state == StepState.WAITING and step.question is not None and "answer" not in step.question


def interrupted_orders() -> list[tuple[Step, ...]]:
    """Return the interrupted steps, oldest first; those of one order stand together, since they are decided as one."""
    rows = Step.objects.filter(state=StepState.INTERRUPTED).select_related("job__owner")
    orders: dict[tuple[object, int], list[Step]] = {}
    for step in rows.prefetch_related("members__sample").order_by("job", "index"):
        orders.setdefault((step.block, step.attempt), []).append(step)
    return [tuple(steps) for steps in orders.values()]


def late_steps() -> list[Step]:
    """Return the steps about which an operator has to decide before they may start, oldest first."""
    waiting = Step.objects.filter(state=StepState.WAITING, question__isnull=False).select_related("job__owner")
    return [step for step in waiting.order_by("id") if asks(step)]


def refill(
    user: User,
    stock: Stock,
    amount: float | None = None,
    lot: str = "",
    *,
    level: float | None = None,
    wait_s: float = WAIT_S,
) -> Answer:
    """Say which amount was added or which level is there now (stock's unit), and its lot number if there is one.

    Raises
    ------
    PermissionDenied
        If the user is no operator.
    """
    require(user.operates(), "Only operators may refill stocks.")
    there = level if amount is None else stock.level + amount
    if there is not None:
        bench.restock(stock, there)
    return ask("refill", user, None, wait_s, stock=stock.pk, amount=amount, level=level, lot=lot)


def collect(user: User, sample: Sample, *, wait_s: float = WAIT_S) -> Answer:
    """Say that a sample was taken away: the places that it held are free.

    Raises
    ------
    IllegalStateError
        If the sample is still being worked on, or holds no place.
    PermissionDenied
        If the user may neither change the sample's job nor operate the lab.
    """
    allowed = may_change(user, sample.job) or user.operates()
    require(allowed, "Only the job's owner, admins of its project and operators may collect its samples.")
    bench.take_away(sample)
    return ask("collect", user, sample.job, wait_s, sample=str(sample.pk))


def _check_job(job: Job, verb: str) -> None:
    if verb not in legal(job):
        raise IllegalStateError(job.state, legal(job))


def ask(verb: str, user: User, job: Job | None, wait_s: float, **payload: Any) -> Answer:
    """Write a request, ring the scheduler, and wait so long (real seconds) for its answer."""
    with transaction.atomic():
        request = Request.objects.create(verb=verb, actor=user, job=job, payload=payload)
        transaction.on_commit(ring_scheduler)
    if wait_s <= 0 or not _answered(request, wait_s):
        return Answer(request, applied=False)
    if request.refused:
        if job is None:
            raise IllegalStateError("", frozenset(), request.refused)
        job.refresh_from_db(fields=["state", "back_to", "ending"])
        raise IllegalStateError(job.state, legal(job), request.refused)
    return Answer(request, applied=True)


def _answered(request: Request, wait_s: float) -> bool:
    """Wait until the scheduler has answered, at most for so long; the row is read again."""
    until_s = time.monotonic() + wait_s
    wait_for(reply_key(request.pk), wait_s)
    while True:
        request.refresh_from_db(fields=["applied_at", "refused"])
        if request.applied_at is not None:
            return True
        if time.monotonic() >= until_s:
            return False
        time.sleep(_POLL_S)
