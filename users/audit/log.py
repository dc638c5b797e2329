"""Writing the log: in the transaction of the change, by whoever makes it."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from octolab.addresses import client_address
from octolab.rows import insert_instance, update_rows

from .models import AuditEntry, AuditHead

MOST_DETAIL = 4000
"""Characters of an entry's detail; longer texts in it are shortened."""
_MOST_TEXT = 300


@dataclass(frozen=True)
class Origin:
    """Who acts at present, by which credential, from where."""

    actor: str = ""
    credential: str = "process"
    address: str = ""
    request: HttpRequest | None = None


_origin: ContextVar[Origin | None] = ContextVar("audit_origin", default=None)


def note(verb: str, subject: object = "", *, actor: Any = None, project: Any = None, **detail: Any) -> AuditEntry:
    """Add an entry. Call it as the last thing in the transaction that makes the change.

    The head of the chain stays locked until the transaction ends, so that concurrent writers queue.

    Parameters
    ----------
    verb
        ``<noun>.<verb>``, such as ``member.add``.
    subject
        What it was done to: its id or name.
    actor
        The user, or a name; by default who makes the present request or runs the present command.
    project
        The project that it concerns, or its short name.
    **detail
        What else is worth knowing, as JSON. Never a secret.
    """
    origin = requester()
    name = actor if isinstance(actor, str) else actor.get_username() if actor is not None else origin.actor
    with transaction.atomic(savepoint=False):
        seq, previous = _locked_head()
        entry = AuditEntry(
            seq=seq + 1,
            at=timezone.now(),
            actor=name[:150],
            credential=origin.credential[:60],
            address=origin.address[:45],
            verb=verb,
            subject=_plain(str(subject))[:200],
            project=str(getattr(project, "slug", project) or "")[:64],
            detail=_text(detail),
            previous=previous,
        )
        entry.hash = entry.digest()
        insert_instance(entry)
        update_rows(AuditHead, ("seq", "hash"), [(entry.seq, entry.hash, 1)])
    return entry


# Raw, because it runs whenever anybody changes anything.
_HEAD = "SELECT seq, hash FROM users_audithead WHERE id = 1"


def _locked_head() -> tuple[int, str]:
    """Lock the end of the chain and return its number and hash."""
    statement = f"{_HEAD} FOR UPDATE" if connection.features.has_select_for_update else _HEAD
    with connection.cursor() as cursor:
        found = cursor.execute(statement).fetchone()
        if found is None:
            AuditHead.objects.get_or_create(pk=1)
            found = cursor.execute(statement).fetchone()
    return found


def requester() -> Origin:
    """Return who makes the present request, or else who runs the present process."""
    origin = _origin.get()
    if origin is None:
        return Origin(actor=f"system:{_system_user()}")
    if origin.actor or origin.request is None:
        return origin
    user = getattr(origin.request, "user", None)
    if user is not None and user.is_authenticated:
        return replace(origin, actor=user.get_username(), credential="session")
    return replace(origin, actor="anonymous", credential="none")


def came_from(user: Any, credential: str) -> None:
    """Note by which credential the present request was authenticated."""
    origin = _origin.get()
    if origin is not None:
        _origin.set(replace(origin, actor=user.get_username(), credential=credential))


@contextmanager
def acting(actor: str, credential: str = "process", address: str = "") -> Iterator[None]:
    """Let everything within be done in somebody's name."""
    token = _origin.set(Origin(actor, credential, address))
    try:
        yield
    finally:
        _origin.reset(token)


class OriginMiddleware:
    """Remember where each request comes from, for the log."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Serve the request."""
        token = _origin.set(Origin(address=client_address(request) or "local", request=request))
        try:
            return self.get_response(request)
        finally:
            _origin.reset(token)


def _system_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _text(detail: dict[str, Any]) -> str:
    if not detail:
        return ""
    text = json.dumps(_short(detail), sort_keys=True, default=str, separators=(", ", ": "))
    return text if len(text) <= MOST_DETAIL else json.dumps({"shortened": text[: MOST_DETAIL // 2]})


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return _plain(value[:_MOST_TEXT])
    if isinstance(value, dict):
        return {str(key)[:100]: _short(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_short(item) for item in value][:100]
    return value


def _plain(text: str) -> str:
    """Return the text without characters that a database refuses."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
