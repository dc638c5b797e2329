"""Wishes to the scheduler, as rows that it will apply."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from octolab.api.errors import Problem
from scheduler.jobformat.problems import JobRefused
from scheduler.models import Job, Request, Sample, Step, Stock
from users.models import User


def submit(document: Any, user: User, *, idempotency_key: str | None, rerun_of: Job | None = None) -> Job:
    """Accept a job, or raise the problem that tells everything that is wrong with it."""
    from scheduler.services.jobs import submit_job

    try:
        return submit_job(document, user, idempotency_key=idempotency_key, rerun_of=rerun_of)
    except JobRefused as refused:
        raise _as_problem(refused) from refused


def check(document: Any, user: User) -> dict[str, Any]:
    """Check a job and keep nothing."""
    from scheduler.services.jobs import check_job

    try:
        return check_job(document, user)
    except JobRefused as refused:
        raise _as_problem(refused) from refused


def _as_problem(refused: JobRefused) -> Problem:
    errors = [{"path": problem.path, "message": str(problem)} for problem in refused.problems]
    return Problem(422, "job-refused", "The job cannot be accepted; nothing was kept.", errors=errors)


def _make(verb: str, actor: User, job: Job | None = None, **payload: Any) -> Request:
    with transaction.atomic():
        return Request.objects.create(verb=verb, actor=actor, job=job, payload=payload)


def cancel(actor: User, job: Job, reason: str) -> Request:
    """Wish that a job ends."""
    return _make("cancel", actor, job, reason=reason)


def change(actor: User, job: Job, **changes: Any) -> Request:
    """Wish another name, priority or deadline for a job."""
    return _make("change", actor, job, **changes)


def refill(actor: User, stock: Stock, *, level: float, lot: str, note: str) -> Request:
    """Tell what a stock holds now."""
    return _make("refill", actor, stock=stock.pk, level=level, lot=lot, note=note)


def collect(actor: User, sample: Sample, *, note: str) -> Request:
    """Tell that a sample was taken away."""
    return _make("collect", actor, sample.job, sample=str(sample.pk), note=note)


def decide(actor: User, step: Step, *, decision: str, note: str) -> Request:
    """Decide on an interrupted step."""
    return _make("decide", actor, step.job, step=str(step.pk), decision=decision, note=note)
