"""Submitting, checking and changing jobs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from octolab import labtime
from octolab.ids import new_id
from scheduler import catalogue as catalogues
from scheduler.catalogue import Catalogue, LabNotReady
from scheduler.doorbell import ring_scheduler
from scheduler.generator import Expansion, expand
from scheduler.jobformat.model import JobDocument
from scheduler.jobformat.parse import salvage
from scheduler.jobformat.problems import JobRefused, Problem, Problems, did_you_mean
from scheduler.jobformat.text import read
from scheduler.jobformat.units import show
from scheduler.models import Job, Request, Stock
from scheduler.states import JobState
from users.audit import note
from users.models import Project, ProjectRole, User
from users.permissions import my_project
from users.policies.rules import Rules, rules_of

from .approval import check_rules, tell_operators, why_approval
from .campaigns import check_campaign
from .exclusions import check_windows
from .feasible import check_feasible
from .hours import check_hours
from .limits import check_limits
from .rows import insert
from .sources import check_places, claim_places, earlier_samples, member_names

MAX_KEY = 200


class IdempotencyConflict(ValueError):  # noqa: N818 - reads as what happened
    """The same idempotency key came with another job before."""


class NotChangeable(ValueError):  # noqa: N818 - reads as what happened
    """The job cannot be changed any more, or not by this user."""


@dataclass(frozen=True)
class CheckedJob:
    """A job that could be accepted now. Nothing of it is kept.

    Attributes
    ----------
    expansion
        Samples, tasks and steps, as they would be inserted.
    """

    user: User
    document: JobDocument
    project: Project
    rules: Rules
    deadline_at: datetime | None
    expansion: Expansion
    catalogue: Catalogue

    @property
    def consumption(self) -> dict[str, float]:
        """What it needs of each stock."""
        return self.expansion.consumption()

    @property
    def module_time_s(self) -> float:
        """For how long it is expected to keep modules busy, lab seconds."""
        return sum(step.duration_s for step in self.expansion.steps if step.action is not None and not step.dormant)


def check_job(
    *, user: User, document: str | bytes | Mapping[str, Any], project: Project | str | None = None
) -> CheckedJob:
    """Check a job completely, and keep nothing.

    Parameters
    ----------
    document
        YAML or JSON text, or what a JSON parser has made of it.
    project
        Overrides the document's: a project, or its short name.

    Raises
    ------
    JobRefused
        With everything that is wrong.
    LabNotReady
        If the lab file cannot be read.
    """
    return _check(user, read(document), project)


def submit_job(
    *,
    user: User,
    document: str | bytes | Mapping[str, Any],
    project: Project | str | None = None,
    idempotency_key: str | None = None,
    rerun_of: Job | None = None,
    manual: bool = False,
    by_agent: bool = False,
) -> tuple[Job, bool]:
    """Accept a job: check it, reserve its stocks, and insert it with its samples, tasks and steps.

    Parameters
    ----------
    by_agent
        Whether it comes from the token of an automatic agent: its project may have such jobs approved first.

    Returns
    -------
    job, created
        ``created`` is false if this user has submitted the same job with the same key before.

    Raises
    ------
    JobRefused
        With everything that is wrong; nothing is kept.
    IdempotencyConflict
        If the key was used for another job.
    OverLimit
        If it would exceed a quota of the user or the project.
    LabNotReady
        If the lab file or the lab's clock cannot be read.
    """
    data = read(document)
    digest = ""
    if idempotency_key is not None:
        digest = _digest(data, project)
        earlier = _by_key(user, idempotency_key, digest)
        if earlier is not None:
            return earlier, False
    checked = _check(user, data, project, manual=manual)
    try:
        with transaction.atomic():
            if not manual:
                check_limits(user, checked.project, checked.module_time_s)
            job = _insert(checked, user, idempotency_key, digest, rerun_of, manual=manual, by_agent=by_agent)
            note("job.submit", job.id, actor=user, project=checked.project, name=job.name, samples=job.samples_total)
            transaction.on_commit(ring_scheduler)
    except IntegrityError:
        # two requests with the same key at the same time: the other one was faster
        found = None if idempotency_key is None else _by_key(user, idempotency_key, digest)
        if found is None:
            raise
        return found, False
    return job, True


def change_job(
    *,
    user: User,
    job: Job,
    name: str | None = None,
    priority: int | None = None,
    deadline: str | None = None,
    clear_deadline: bool = False,
) -> Request:
    """Ask the scheduler to change a job that is not started yet.

    Raises
    ------
    NotChangeable
        If the job has started, or the user is neither its owner nor an admin of its project.
    JobRefused
        If a value is not possible.
    """
    from users.permissions import may_change

    if not may_change(user, job):
        raise NotChangeable("Only the job's owner and admins of its project may change it.")
    if job.state not in (JobState.QUEUED, JobState.HELD, JobState.AWAITING_APPROVAL) or job.started_lab_s is not None:
        raise NotChangeable(f"The job is {job.state}; it can be changed only while it is queued.")
    problems = Problems()
    payload: dict[str, Any] = {}
    if name is not None:
        payload["name"] = name.strip()
        if not 1 <= len(payload["name"]) <= 200:
            problems.add(("name",), "A name has 1 to 200 characters.")
    if priority is not None:
        payload["priority"] = priority
        if not -10 <= priority <= 10:
            problems.add(("priority",), "The priority is -10 to 10; 0 is normal.")
    if deadline is not None or clear_deadline:
        moment = None if deadline is None else _deadline(deadline, _catalogue(), problems)
        payload["deadline"] = None if moment is None else moment.isoformat()
    problems.refuse()
    with transaction.atomic():
        request = Request.objects.create(verb="change", actor=user, job=job, payload=payload)
        transaction.on_commit(ring_scheduler)
    return request


# --- checking -----------------------------------------------------------------------------------------------


def _check(user: User, data: dict[str, Any], project: Project | str | None, *, manual: bool = False) -> CheckedJob:
    document, problems = salvage(data)
    catalogue = _catalogue()
    chosen = _project(user, document, project, problems)
    deadline_at = None if document.deadline is None else _deadline(document.deadline, catalogue, problems)
    if chosen is not None and document.recipients:
        _check_recipients(document, chosen, problems)
    earlier = earlier_samples(document, catalogue, user, problems)
    expansion = expand(document, catalogue, new_id(), problems, earlier, by_hand=manual)
    rules = Rules.model_validate({}) if chosen is None else rules_of(chosen)
    if chosen is not None:
        if not manual:
            # By hand somebody works as an operator of the module, which no project's rules are about.
            check_rules(expansion, rules, problems)
        check_campaign(document, expansion, chosen, problems)
    if not problems:
        check_places(expansion, catalogue, problems)
        check_hours(expansion, catalogue, problems)
        check_windows(document, expansion, problems)
        if not problems:
            check_feasible(expansion, catalogue, problems)
        _check_stocks(expansion.consumption(), problems)
    problems.refuse()
    if chosen is None:
        raise RuntimeError("a job without a project must have been refused")
    return CheckedJob(user, document, chosen, rules, deadline_at, expansion, catalogue)


def _catalogue() -> Catalogue:
    from modules.contract.lab import LabFileError

    try:
        return catalogues.current()
    except LabFileError as error:
        raise LabNotReady(f"The lab file cannot be used: {error}") from error


def _project(user: User, document: JobDocument, given: Project | str | None, problems: Problems) -> Project | None:
    """Return the project that the job belongs to, if the user may submit to it."""
    slug = given.slug if isinstance(given, Project) else given or document.project
    mine = my_project(user, slug)
    if mine is None:
        known = list(Project.objects.visible_to(user).values_list("slug", flat=True))
        said = f"There is no project `{slug}` among yours." if slug else "You have no project of your own."
        problems.add(("project",), f"{said} {did_you_mean(slug or '', known, 'The project')}")
        return None
    chosen, role = mine
    if role not in (ProjectRole.MEMBER, ProjectRole.ADMIN):
        problems.add(
            ("project",), f"You may look at the project `{chosen.slug}`, but only its members may submit jobs to it."
        )
    return chosen


def _deadline(text: str, catalogue: Catalogue, problems: Problems) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or len(text) <= len("2026-12-01"):
        problems.add(
            ("deadline",), "Write a date and a time like 2026-12-01T09:00, if need be with a zone: 2026-12-01T08:00Z."
        )
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(catalogue.lab.timezone))
    try:
        moment = moment.astimezone(UTC)
    except OverflowError:
        problems.add(("deadline",), "This date is out of reach.")
        return None
    if moment <= timezone.now():
        problems.add(("deadline",), "This deadline has passed already: name a later one, or leave it out.")
    return moment


def _check_recipients(document: JobDocument, project: Project, problems: Problems) -> None:
    members = member_names(project)
    for index, name in enumerate(document.recipients):
        if name not in members:
            problems.add(
                ("recipients", index),
                f"`{name}` is no member of the project. {did_you_mean(name, sorted(members), 'A recipient')}",
            )


def _check_stocks(consumption: dict[str, float], problems: Problems) -> None:
    if not consumption:
        return
    stocks = Stock.objects.in_bulk(list(consumption))
    for stock_id, amount in consumption.items():
        stock = stocks[stock_id]
        _note_shortage(stock, amount, problems)


def _note_shortage(stock: Stock, amount: float, problems: Problems) -> None:
    left = stock.level - stock.reserved
    if amount > left + _TOLERANCE * stock.level:
        free = show(max(left, 0.0), stock.unit)
        problems.add(
            ("workflow",),
            f"The job needs {show(amount, stock.unit)} of `{stock.id}`, but only {free} are left that no other job has "
            f"reserved. Have it refilled, or use less.",
        )


_TOLERANCE = 1e-9

# --- inserting ----------------------------------------------------------------------------------------------


def job_row(checked: CheckedJob, user: User) -> Job:
    """Return a checked job as a row that is not saved.

    Raises
    ------
    LabNotReady
        If the lab's clock cannot be read.
    """
    clock = labtime.clock()
    if clock is None:
        raise LabNotReady("The lab's clock cannot be read, because the document store does not answer. Try again soon.")
    document, expansion, catalogue = checked.document, checked.expansion, checked.catalogue
    return Job(
        id=expansion.job_id,
        project=checked.project,
        owner=user,
        name=document.name,
        spec=document.normalised(),
        manifests={instance: catalogue.hashes[instance] for instance in expansion.modules},
        campaign=document.campaign or "",
        campaign_key=document.key or "",
        waits_for=list(expansion.waits_for),
        priority=document.priority,
        deadline_at=checked.deadline_at,
        simulated=catalogue.lab.simulated,
        submitted_at=timezone.now(),
        submitted_lab_s=clock.now(),
        samples_total=len(expansion.samples),
        steps_total=expansion.steps_total,
    )


def _insert(
    checked: CheckedJob,
    user: User,
    key: str | None,
    digest: str,
    rerun_of: Job | None,
    *,
    manual: bool,
    by_agent: bool,
) -> Job:
    job, expansion = job_row(checked, user), checked.expansion
    job.manual = manual
    job.rerun_of, job.idempotency_key, job.idempotency_digest = rerun_of, key, digest
    job.by_agent = by_agent
    used = {(task.module, task.task) for task in expansion.tasks if not task.cleanup and not manual}
    job.state_reason = why_approval(used, checked.rules, by_agent)
    if job.state_reason:
        job.state = JobState.AWAITING_APPROVAL
    insert(job, expansion)
    problems = Problems()
    claim_places(expansion, job.submitted_lab_s, problems)
    _reserve(expansion.consumption(), problems)
    problems.refuse()
    if job.state == JobState.AWAITING_APPROVAL:
        tell_operators(job)
    return job


def _reserve(consumption: dict[str, float], problems: Problems) -> None:
    """Reserve what the job needs, by one conditional update for each stock, always in the same order."""
    for stock_id, amount in sorted(consumption.items()):
        enough = Stock.objects.filter(id=stock_id, level__gte=F("reserved") + amount - _TOLERANCE * F("level"))
        if not enough.update(reserved=F("reserved") + amount):
            _note_shortage(Stock.objects.get(id=stock_id), amount, problems)
            if not problems:
                problems.add(("workflow",), f"The stock `{stock_id}` ran low this very moment. Submit the job again.")


# --- idempotency --------------------------------------------------------------------------------------------


def _digest(data: dict[str, Any], project: Project | str | None) -> str:
    slug = project.slug if isinstance(project, Project) else project
    text = json.dumps([data, slug], sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _by_key(user: User, key: str, digest: str) -> Job | None:
    if not 1 <= len(key) <= MAX_KEY:
        raise JobRefused([Problem("", f"An idempotency key has 1 to {MAX_KEY} characters.")])
    job = Job.objects.filter(owner=user, idempotency_key=key).first()
    if job is not None and job.idempotency_digest != digest:
        raise IdempotencyConflict(
            f"The key `{key}` was used for another job ({job.id}). Use a new key for each job that you want to be run."
        )
    return job
