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
from users.accounts.services import lacking_a_factor
from users.models import LabRole, Membership, Scope, Token, User

LAB_KINDS = ("device", "stock", "estop", "maintenance", "interlock")
"""Kinds of events that everybody may see, though not who did it and why: that may name other people's work."""


@dataclass(frozen=True)
class Receiver:
    """Whom a socket belongs to, and by which credential."""

    user_id: UUID
    session_key: str | None = None
    session_hash: str | None = None
    """What the session keeps of the password with which it was signed in."""
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
    users = {user.pk: user for user in User.objects.filter(id__in=user_ids, is_active=True)}
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
    without_factor = lacking_a_factor({r.user_id for r in receivers if r.token_digest is None})

    rights = dict.fromkeys(receivers, NOTHING)
    for receiver in receivers:
        user, mine, only = users.get(receiver.user_id), projects.get(receiver.user_id, set()), None
        if user is None:
            continue
        if receiver.token_digest:
            if receiver.token_digest not in tokens:
                continue
            only = tokens[receiver.token_digest]
            mine = mine & {only} if only else mine
            if only and not mine:
                continue
        elif (
            receiver.session_key not in sessions
            # It was signed in with a password that is not the present one.
            or receiver.session_hash != user.get_session_auth_hash()
            or user.pk in without_factor
        ):
            continue
        # A token that works for one project carries no lab role.
        rights[receiver] = Rights(True, frozenset(mine), only is None and user.pk in operators)
    return rights


def _valid_tokens(digests: set[str], now: datetime) -> dict[str, UUID | None]:
    """Return digest → project to which the token is bound (None: all), for tokens that have not expired.

    Only those that may read jobs: events tell what happens to them.
    """
    rows = Token.objects.filter(digest__in=digests).values_list("digest", "expiry", "project_id", "scopes")
    return {
        digest: project
        for digest, expiry, project, scopes in rows
        if (expiry is None or expiry > now) and Scope.JOBS_READ in scopes
    }


def as_message(event: Event, rights: Rights) -> dict[str, Any] | None:
    """Return the event as a receiver with these rights may see it; None if it does not exist for them.

    Events of a job belong to its project. The others (:data:`LAB_KINDS`) tell everybody what changed; who did it and
    why is for operators. Of what else happens (the plan, places) others learn that it did: pages are drawn anew.
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
    return message if event.kind in LAB_KINDS else message | {"subject": ""}
