"""Who asks: a token in the ``Authorization`` header, or the session of somebody at the dashboard."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import connection
from django.utils import timezone
from knox.auth import TokenAuthentication as KnoxTokenAuthentication
from knox.crypto import hash_token
from rest_framework import authentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from octolab.addresses import client_address
from octolab.select import Select

from .audit import came_from
from .models import Membership, Token, User

LAST_USE_GRAIN = timedelta(minutes=1)
_REFUSED = "This token does not work: it is wrong, revoked or expired, or its user or membership has ended."


_TOKEN_FIELDS = tuple(field.attname for field in Token._meta.concrete_fields)
_USER_FIELDS = tuple(field.attname for field in User._meta.concrete_fields)
_FOUND = Select(
    lambda: Token.objects.values_list(*_TOKEN_FIELDS, *(f"user__{name}" for name in _USER_FIELDS)), by="digest"
)
"""It runs at every request."""


class TokenAuthentication(KnoxTokenAuthentication):
    """Authenticate by a token as ``Authorization: Bearer octolab_…``.

    Unlike knox, look the token up by its digest (the primary key) and write nothing but, once a minute, its last use;
    not even that for a view with ``writes_nothing``, which works while nobody can write to the database.
    """

    def authenticate(self, request: Request) -> tuple[User, Token] | None:
        """Return the user and the token, or None if the header names no token."""
        found = super().authenticate(request)
        if found is not None:
            came_from(found[0], f"token {found[1].uid}")
            view = (request.parser_context or {}).get("view")
            if not getattr(view, "writes_nothing", False):
                _note_use(found[1], client_address(request))
        return found

    def authenticate_credentials(self, token: bytes) -> tuple[User, Token]:
        """Return user and token; raise ``AuthenticationFailed`` if it must not be used any more."""
        try:
            return authenticate_token(token.decode("ascii"))
        except UnicodeDecodeError as error:
            raise AuthenticationFailed(_REFUSED) from error


class SessionAuthentication(authentication.SessionAuthentication):
    """Authenticate by the dashboard's session; whatever changes something needs the CSRF token."""


def authenticate_token(secret: str) -> tuple[User, Token]:
    """Return the user and the token of a secret. The one place that decides whether a token works.

    Raises
    ------
    AuthenticationFailed
        If it is unknown or expired, its user is not active, or is no longer a member of the token's project.
    """
    found = _FOUND([hash_token(secret)])
    if not found:
        raise AuthenticationFailed(_REFUSED)
    values = found[0]
    token = Token.from_db(connection.alias, _TOKEN_FIELDS, values[: len(_TOKEN_FIELDS)])
    user = User.from_db(connection.alias, _USER_FIELDS, values[len(_TOKEN_FIELDS) :])
    if not user.is_active or (token.expiry is not None and token.expiry <= timezone.now()):
        raise AuthenticationFailed(_REFUSED)
    token.user = user
    if token.project_id is not None:
        if not Membership.objects.filter(user=user, project=token.project_id).exists():
            raise AuthenticationFailed(_REFUSED)
        user.only_project_id = token.project_id
    return user, token


def _note_use(token: Token, address: str | None) -> None:
    now = timezone.now()
    if token.last_used_at is None or now - token.last_used_at > LAST_USE_GRAIN:
        values: dict[str, Any] = {"last_used_at": now, "last_address": address}
        Token.objects.filter(pk=token.pk).update(**values)
