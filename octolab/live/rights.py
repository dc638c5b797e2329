"""Who may see which event, asked anew for every batch that is sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.sessions.models import Session
from django.utils import timezone

from scheduler.models import Event
from users.models import LabRole, Membership, Token, User


@dataclass(frozen=True)
class Receiver:
    """Whom a socket belongs to, and by which credential."""

    user_id: UUID
    session_key: str | None = None
    token_digest: str | None = None


@dataclass(frozen=True)
class Rights:
    """What a receiver may see at the moment."""

    alive: bool
    """Whether the account is active and the session or token still holds."""
    projects: frozenset[UUID] = frozenset()
    operator: bool = False


NOTHING = Rights(alive=False)


def present_rights(receivers: Iterable[Receiver]) -> dict[Receiver, Rights]:
    """Look up the present rights of all receivers, with a fixed number of queries."""
    receivers = list(receivers)
    user_ids = {receiver.user_id for receiver in receivers}
    now = timezone.now()
    active = set(User.objects.filter(id__in=user_ids, is_active=True).values_list("id", flat=True))
    sessions = set(
        Session.objects.filter(
            session_key__in={r.session_key for r in receivers if r.session_key}, expire_date__gt=now
        ).values_list("session_key", flat=True)
    )
    tokens = _valid_tokens({r.token_digest for r in receivers if r.token_digest}, now)
    operators = set(
        LabRole.objects.filter(user__in=user_ids, role=LabRole.Role.OPERATOR).values_list("user_id", flat=True)
    )
    projects: dict[UUID, set[UUID]] = {}
    for user_id, project_id in Membership.objects.filter(user__in=user_ids).values_list("user_id", "project_id"):
        projects.setdefault(user_id, set()).add(project_id)

    rights = {}
    for receiver in receivers:
        mine = projects.get(receiver.user_id, set())
        if receiver.token_digest:
            held = receiver.token_digest in tokens
            only = tokens.get(receiver.token_digest)
            mine = mine & {only} if only else mine
            held = held and (only is None or bool(mine))
        else:
            held = receiver.session_key in sessions
        if receiver.user_id in active and held:
            rights[receiver] = Rights(True, frozenset(mine), receiver.user_id in operators)
        else:
            rights[receiver] = NOTHING
    return rights


def _valid_tokens(digests: set[str], now: datetime) -> dict[str, UUID | None]:
    """Return digest → project to which the token is bound (None: all), for tokens that have not expired."""
    rows = Token.objects.filter(digest__in=digests).values_list("digest", "expiry", "project_id")
    return {digest: project for digest, expiry, project in rows if expiry is None or expiry > now}


def as_message(event: Event, rights: Rights) -> dict[str, Any] | None:
    """Return the event as a receiver with these rights may see it; None if it does not exist for them.

    Events of a job belong to its project. The others (devices, stocks, the plan) tell everybody what changed;
    who did it and why is for operators.
    """
    message = {
        "type": "event",
        "seq": event.seq,
        "at": event.at.isoformat(),
        "lab_s": event.lab_s,
        "kind": event.kind,
        "subject": event.subject,
        "from": event.state_from,
        "to": event.state_to,
    }
    if event.project_id is not None or event.job_id is not None:
        if event.project_id not in rights.projects:
            return None
        return message | {
            "job": str(event.job_id) if event.job_id else None,
            "actor": event.actor,
            "reason": event.reason,
            "data": event.data,
        }
    if rights.operator:
        return message | {"actor": event.actor, "reason": event.reason, "data": event.data}
    return message
