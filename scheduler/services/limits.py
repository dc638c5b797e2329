"""Quotas: how many jobs may be open, and how many hours of module time a month may have."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Min, Sum
from django.utils import timezone

from octolab import labtime
from scheduler.accounting.ledger import month_of
from scheduler.models import Job, Step, Usage
from scheduler.states import JOB_FINAL, STEP_FINAL, JobState
from users.models import LabPolicy, Project, User

OPEN = tuple(state for state in JobState.values if state not in JOB_FINAL)
_SHORTEST_S, _USUAL_S, _LONGEST_S = 1, 60, 3600
"""Bounds of Retry-After while one waits for a job to finish, and what it is if nobody knows."""


class OverLimit(ValueError):  # noqa: N818 - reads as what happened
    """The job would exceed a quota; the text says which, and what to do.

    Attributes
    ----------
    retry_after_s
        After how long (real seconds) it may be tried again; None if waiting does not help.
    """

    def __init__(self, message: str, retry_after_s: int | None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Limit:
    """What a user or a project may have, and has. None: no limit."""

    of: str
    """``user`` or ``project``."""
    name: str
    open_jobs: int
    most_open_jobs: int | None
    module_hours: float | None
    """Used this month and wanted by open jobs; None if there is no limit to compare it with."""
    most_module_hours: float | None


def limits(user: User, project: Project, *, always_hours: bool = False) -> tuple[Limit, Limit]:
    """Return the limits of a user and of a project with what they have now.

    Parameters
    ----------
    always_hours
        Whether the hours are counted even where nothing limits them.
    """
    jobs_per_user, hours_per_user, jobs_per_project, hours_per_project = _allowed(user, project)
    return (
        _limit("user", user.username, {"owner_id": user.pk}, {"user_id": user.pk},
               jobs_per_user, hours_per_user, always_hours),
        _limit("project", project.slug, {"project_id": project.pk}, {"project_id": project.pk},
               jobs_per_project, hours_per_project, always_hours),
    )  # fmt: skip


def check_limits(user: User, project: Project, wanted_s: float) -> None:
    """Refuse a job that would exceed a quota. Call it in the transaction that inserts the job.

    Parameters
    ----------
    wanted_s
        The module time that the job is expected to need, lab seconds.

    Raises
    ------
    OverLimit
        With what to do, and when.
    """
    if connection.features.has_select_for_update:
        # Two submits at once must not both be the last one; SQLite has one writer at a time anyway.
        Project.objects.select_for_update(no_key=True).only("pk").get(pk=project.pk)
        User.objects.select_for_update(no_key=True).only("pk").get(pk=user.pk)
    for limit in limits(user, project):
        who = "You have" if limit.of == "user" else f"The project `{limit.name}` has"
        if limit.most_open_jobs is not None and limit.open_jobs >= limit.most_open_jobs:
            raise OverLimit(
                f"{who} {limit.open_jobs} open jobs, and {limit.most_open_jobs} are allowed. Wait until some are "
                "finished, cancel some, or ask a lab admin for a larger quota.",
                _until_one_finishes(user, project, limit.of),
            )
        if limit.most_module_hours is None or limit.module_hours is None:
            continue
        wanted_h = wanted_s / 3600
        if wanted_h > limit.most_module_hours:
            raise OverLimit(
                f"The job needs {wanted_h:.2f} h of module time, and the whole quota of a month is "
                f"{limit.most_module_hours:g} h. Split it, or ask a lab admin for a larger quota.",
                None,
            )
        if limit.module_hours + wanted_h > limit.most_module_hours:
            raise OverLimit(
                f"{who} used or asked for {limit.module_hours:.2f} h of this month's {limit.most_module_hours:g} h of "
                f"module time, and the job needs {wanted_h:.2f} h. Cancel jobs that wait, try again next month, or ask "
                "a lab admin for a larger quota.",
                _until_next_month(timezone.now()),
            )


# Raw, because these run at every submit.
_ALLOWED = """
    SELECT COALESCE(mine.open_jobs, usual.open_jobs_per_user), COALESCE(mine.module_hours, usual.module_hours_per_user),
        COALESCE(theirs.open_jobs, usual.open_jobs_per_project),
        COALESCE(theirs.module_hours, usual.module_hours_per_project)
    FROM users_labpolicy usual
    LEFT JOIN users_quota mine ON mine.user_id = %s
    LEFT JOIN users_quota theirs ON theirs.project_id = %s
    WHERE usual.id = 1
"""
_OPEN_JOBS = f"SELECT COUNT(*) FROM scheduler_job WHERE {{of}} = %s AND state IN ({', '.join(['%s'] * len(OPEN))})"  # noqa: S608


def _allowed(user: User, project: Project) -> tuple[int | None, float | None, int | None, float | None]:
    """Return jobs and hours that the user may have, then those of the project: its own quota or else the lab's."""
    with connection.cursor() as cursor:
        found = cursor.execute(_ALLOWED, [_stored(user.pk), _stored(project.pk)]).fetchone()
        if found is None:
            LabPolicy.objects.get_or_create(pk=1)
            found = cursor.execute(_ALLOWED, [_stored(user.pk), _stored(project.pk)]).fetchone()
    return found


def _open_jobs(of: str, key: UUID) -> int:
    with connection.cursor() as cursor:
        return cursor.execute(_OPEN_JOBS.format(of=of), [_stored(key), *OPEN]).fetchone()[0]


def _stored(key: UUID) -> Any:
    return User._meta.pk.get_db_prep_value(key, connection)


def _limit(
    of: str, name: str, of_job: dict[str, Any], of_use: dict[str, Any], most_jobs: int | None, most_hours: float | None,
    always_hours: bool,
) -> Limit:  # fmt: skip
    count = _open_jobs(*next(iter(of_job.items()))) if always_hours or most_jobs is not None else 0
    hours = None
    if always_hours or most_hours is not None:
        used = Usage.objects.filter(**of_use, kind=Usage.Kind.MODULE, month=month_of(timezone.now()))
        steps = Step.objects.filter(
            **{f"job__{key}": value for key, value in of_job.items()},
            job__state__in=OPEN,
            action__isnull=False,
            dormant=False,
        ).exclude(state__in=STEP_FINAL)
        used_s = used.aggregate(s=Sum("amount"))["s"] or 0.0
        hours = (used_s + (steps.aggregate(s=Sum("duration_s"))["s"] or 0.0)) / 3600
    return Limit(of, name, count, most_jobs, hours, most_hours)


def _until_one_finishes(user: User, project: Project, of: str) -> int:
    jobs = Job.objects.filter(**({"owner": user} if of == "user" else {"project": project}), state__in=OPEN)
    finish_s = jobs.aggregate(s=Min("predicted_finish_lab_s"))["s"]
    clock = labtime.clock()
    if finish_s is None or clock is None:
        return _USUAL_S
    return min(_LONGEST_S, max(_SHORTEST_S, math.ceil(clock.real_seconds(finish_s - clock.now()))))


def _until_next_month(now: datetime) -> int:
    first = month_of(now)
    following = (datetime(first.year, first.month, 1, tzinfo=UTC) + timedelta(days=32)).replace(day=1)
    return math.ceil((following - now).total_seconds())
