"""The websocket application: who connects, and from where."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from channels.auth import AuthMiddlewareStack
from channels.db import database_sync_to_async
from channels.routing import URLRouter
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY
from django.http.request import split_domain_port, validate_host
from django.urls import path
from rest_framework.exceptions import AuthenticationFailed

from octolab import throttle
from users.authentication import authenticate_token
from users.models import Scope

from .consumers import EventsConsumer
from .rights import Receiver


class ReceiverMiddleware:
    """Sets ``scope["receiver"]``: from a token in ``Authorization``, or from the session of the same origin.

    A browser sends the session cookie with any page's socket, so a session counts only if the page's Origin is
    this very host and port; without an Origin it does not count. A token is sent by its owner alone.
    """

    def __init__(self, inner: Callable[..., Awaitable[Any]]) -> None:
        self.inner = inner

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        """Resolve the credential once, at connect."""
        headers = {name: value.decode("latin1") for name, value in scope["headers"]}
        receiver = None
        if authorization := headers.get(b"authorization"):
            receiver = await _token_receiver(authorization)
        elif scope["user"].is_authenticated and same_origin(headers):
            session = scope["session"]
            receiver = Receiver(
                scope["user"].pk, session_key=session.session_key, session_hash=session.get(HASH_SESSION_KEY)
            )
        if receiver is not None:
            throttle.remember(scope, receiver.user_id)
        return await self.inner(dict(scope, receiver=receiver), receive, send)


def same_origin(headers: dict[bytes, str]) -> bool:
    """Return whether the request comes from a page of this server."""
    host = headers.get(b"host", "")
    domain, _ = split_domain_port(host)
    if not domain or not validate_host(domain, settings.ALLOWED_HOSTS):
        return False
    origin = urlsplit(headers.get(b"origin", ""))
    return origin.scheme in {"http", "https"} and origin.netloc.lower() == host.lower()


@database_sync_to_async
def _token_receiver(authorization: str) -> Receiver | None:
    keyword, _, secret = authorization.partition(" ")
    if keyword.lower() not in ("token", "bearer") or not secret:
        return None
    try:
        user, token = authenticate_token(secret)
    except AuthenticationFailed:
        return None
    if Scope.JOBS_READ not in token.scopes:
        return None
    return Receiver(user.pk, token_digest=token.digest)


websocket_application = AuthMiddlewareStack(
    ReceiverMiddleware(URLRouter([path("ws/events", EventsConsumer.as_asgi())]))
)
