"""The outbox: messages are written in the transaction that changes a state, and delivered later by the services.

A message is for the job's owner and for the recipients that the job names, each by their own channels, as long as
they are members of the job's project.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings

from scheduler.models import Job
from users.models import LabRole, Membership, User

from .models import Channel, Notification

_log = logging.getLogger(__name__)

_HAPPENED = {
    "finished": "is finished",
    "failed": "has failed",
    "cancelled": "was cancelled",
    "needs_operator": "needs an operator",
    "needs_approval": "waits for your approval",
    "approved": "was approved",
}
ASKED = "asks_person"
"""The event of a step that a person is asked to do."""
_TITLE_LENGTH, _REASON_LENGTH = 200, 1_000
# Chat services take these for mentions, links and markup.
_HARMLESS = str.maketrans("<>@[]|`&", "\u2039\u203a\uff20\uff3b\uff3d\u00a6\u02cb\uff06")


@dataclass(frozen=True)
class Happening:
    """Something about a job that people want to be told."""

    event: str
    """``finished``, ``failed``, ``cancelled`` or ``needs_operator``."""
    job_id: UUID | str
    reason: str = ""
    """Why, for people."""


def enqueue(event: str, job: Job, reason: str = "") -> int:
    """Write the messages about one job; see :func:`enqueue_many`."""
    return enqueue_many([Happening(event, job.pk, reason)])


def enqueue_many(happenings: Iterable[Happening]) -> int:
    """Write the messages about jobs. Call it inside the transaction that changed their states.

    Returns
    -------
    int
        How many messages were written.
    """
    told = list(happenings)
    jobs = {
        str(job["pk"]): job
        for job in Job.objects.filter(pk__in=[happening.job_id for happening in told]).values(
            *("pk", "name", "project_id", "owner_id", "simulated", "samples_total", "samples_failed"),
            "spec__recipients",
        )
    }
    members = Membership.objects.filter(
        project_id__in={job["project_id"] for job in jobs.values()}, user__is_active=True
    ).values_list("project_id", "user_id", "user__username")
    channels: dict[UUID, list[Channel]] = {}
    for channel in Channel.objects.filter(
        user__memberships__project_id__in={job["project_id"] for job in jobs.values()}, enabled=True
    ).distinct():
        channels.setdefault(channel.user_id, []).append(channel)
    rows = []
    for happening in told:
        job = jobs[str(happening.job_id)]
        names = set(job["spec__recipients"] or ())
        for project_id, user_id, username in members:
            if project_id != job["project_id"] or not (user_id == job["owner_id"] or username in names):
                continue
            rows += [
                Notification(
                    user_id=user_id,
                    channel=channel,
                    event=happening.event,
                    job_id=job["pk"],
                    title=_title(happening, job),
                    body=_body(happening, job),
                )
                for channel in channels.get(user_id, ())
                if not channel.events or happening.event in channel.events
            ]
    Notification.objects.bulk_create(rows)
    return len(rows)


def tell_operators(event: str, title: str, body: str) -> int:
    """Write a message about the lab itself to all operators; call it inside the transaction of what it tells.

    Returns
    -------
    int
        How many messages were written.
    """
    operators = LabRole.objects.filter(role=LabRole.Role.OPERATOR, user__is_active=True).values("user")
    rows = [
        Notification(
            user_id=channel.user_id,
            channel=channel,
            event=event,
            title=harmless(title)[:_TITLE_LENGTH],
            body=f"{harmless(body)[:_REASON_LENGTH]}\n{settings.PUBLIC_URL}/operator",
        )
        for channel in Channel.objects.filter(user__in=operators, enabled=True)
        # Asked for a channel's events, people choose among those of jobs: nobody can have unchosen these.
    ]
    Notification.objects.bulk_create(rows)
    return len(rows)


def tell(event: str, job: Job, users: Iterable[User], reason: str = "") -> int:
    """Write the messages about a job for people who need not be of its project, such as operators.

    Call it inside the transaction that changed the job's state.
    """
    happening = Happening(event, job.pk, reason)
    facts = {name: getattr(job, name) for name in ("pk", "name", "simulated", "samples_total", "samples_failed")}
    rows = [
        Notification(
            user_id=channel.user_id,
            channel=channel,
            event=event,
            job_id=job.pk,
            title=_title(happening, facts),
            body=_body(happening, facts),
        )
        for channel in Channel.objects.filter(user__in=[user.pk for user in users], enabled=True)
        if not channel.events or event in channel.events
    ]
    Notification.objects.bulk_create(rows)
    return len(rows)


@dataclass(frozen=True)
class Question:
    """A step that a person is asked to do."""

    step_id: str
    job_id: str
    module: str
    task: str
    """Its title."""
    samples: tuple[str, ...] = ()


def tell_people(question: Question) -> int:
    """Write the messages about a step that waits for a person; call it inside the transaction that asks.

    They are for the job's owner and recipients, who may answer or know who can, and for the operators of the module.
    Operators who do not see the job are told the task alone.

    Returns
    -------
    int
        How many messages were written.
    """
    job = Job.objects.select_related("owner").get(pk=question.job_id)
    names = {job.owner.username, *(job.spec.get("recipients") or ())}
    members = set(
        Membership.objects.filter(project_id=job.project_id, user__is_active=True).values_list("user_id", flat=True)
    )
    team = set(User.objects.filter(pk__in=members, username__in=names).values_list("pk", flat=True))
    operators = {
        role.user_id
        for role in LabRole.objects.filter(role=LabRole.Role.OPERATOR, user__is_active=True)
        if role.modules is None or question.module in role.modules
    }
    rows = []
    for channel in Channel.objects.filter(user__in=team | operators, enabled=True):
        if channel.events and ASKED not in channel.events:
            continue
        inside = channel.user_id in members
        rows.append(
            Notification(
                user_id=channel.user_id,
                channel=channel,
                event=ASKED,
                job_id=job.pk if inside else None,
                title=_asked_title(question, job if inside else None),
                body=_asked_body(question, inside),
            )
        )
    Notification.objects.bulk_create(rows)
    return len(rows)


def _asked_title(question: Question, job: Job | None) -> str:
    title = f"A person is needed: {harmless(question.task)}"
    if job is not None:
        title += f" for job «{harmless(job.name)}»{' (simulated)' if job.simulated else ''}"
    return title[:_TITLE_LENGTH]


def _asked_body(question: Question, inside: bool) -> str:
    shown = ", ".join(map(harmless, question.samples[:5])) if inside else ""
    more = f" and {len(question.samples) - 5} more" if len(question.samples) > 5 and inside else ""
    lines = [f"Sample: {shown}{more}"[:_REASON_LENGTH]] if shown else []
    return "\n".join([*lines, f"{settings.PUBLIC_URL}/steps/{question.step_id}"])


def ring() -> None:
    """Have the messages delivered at once. If it is not heard, they leave a little later."""
    from .tasks import deliver

    try:
        deliver.apply_async(queue="notifications", expires=60, retry=False)
    except deliver.OperationalError:
        _log.warning("the broker is away: messages leave with the next sweep")


def _title(happening: Happening, job: dict[str, Any]) -> str:
    ending = f"» {_HAPPENED[happening.event]}{' (simulated)' if job['simulated'] else ''}"
    name = harmless(job["name"]) or str(job["pk"])
    return f"Job «{name[: _TITLE_LENGTH - len(ending) - 5]}{ending}"


def _body(happening: Happening, job: dict[str, Any]) -> str:
    lines = [harmless(happening.reason)[:_REASON_LENGTH]] if happening.reason else []
    if job["samples_failed"]:
        lines.append(f"{job['samples_failed']} of {job['samples_total']} samples failed.")
    return "\n".join([*lines, f"{settings.PUBLIC_URL}/jobs/{job['pk']}"])


def harmless(text: str) -> str:
    """Return a user's text as one line without what chat services take for mentions, links or markup."""
    line = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(line.translate(_HARMLESS).replace("://", ":\u2044\u2044").split())
