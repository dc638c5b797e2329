"""How many requests somebody may send: per user, per address, and per address for who is nobody.

It stands before everything else: what is refused costs no thread, no query and no body. Who asks is not known here, but
whose credential it was the last time is (:func:`remember`), and that is enough to count by. Rights are decided later,
and never by what is remembered here.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import blake2b
from ipaddress import IPv6Address, ip_address
from itertools import islice
from typing import Any

from django.conf import settings
from django.template.loader import render_to_string

from .api.errors import MEDIA_TYPE
from .rates import rates

URGENT = frozenset({"/api/v1/estop", "/estop"})
"""Paths whose POST has threads of its own, and is never refused to who is known."""
_REMEMBERED_S = 600.0
_MOST_REMEMBERED = 20_000
_CROWDED_S = 10
"""Retry-After of who has too many websockets open."""

_credentials: dict[bytes, tuple[str, float]] = {}
"""Digest of a credential: whose it was, and until when that counts (monotonic seconds)."""


class TooMany(Exception):  # noqa: N818 - reads as what happened
    """Somebody sends more than is allowed.

    Attributes
    ----------
    retry_after_s
        After how long to come again, whole seconds.
    """

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Throttle:
    """The ASGI application, for those who do not ask too often."""

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request or a websocket, or say when to come again."""
        if scope["type"] not in ("http", "websocket"):
            await self._application(scope, receive, send)
            return
        rates().share()
        try:
            count(scope)
            if scope["type"] == "http":
                await self._application(scope, receive, send)
                return
            with SOCKETS.one_of(f"address:{address(scope)}", settings.SOCKETS_PER_ADDRESS):
                await self._application(scope, receive, send)
        except TooMany as refusal:
            await _refuse(scope, refusal, send)


def count(scope: Any) -> None:
    """Count a request; raise :class:`TooMany` if it is one too many."""
    limits, where = settings.REQUESTS_PER_MINUTE, address(scope)
    credential = credential_of(scope)
    user = None if credential is None else _owner(credential)
    if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in URGENT:
        taken: tuple[tuple[str, str, str], ...] = () if user else (("urgent", where, "this address"),)
    elif user:
        taken = (("address", where, "this address"), ("user", user, "you"))
    else:
        taken = (("address", where, "this address"), ("anonymous", where, "this address without being signed in"))
    for kind, who, said in taken:
        wait_s = rates().take(f"{kind}:{who}", limits[kind])
        if wait_s is not None:
            raise TooMany(
                f"Too many requests: at most {limits[kind]} a minute come from {said}. Wait as long as Retry-After "
                "says, and ask less often: one request can list many jobs, and events tell what has changed.",
                wait_s,
            )


# --- who it is


def remember(scope: Any, user: Any) -> None:
    """Count what comes with this request's credential as the user's from now on; None for nobody's."""
    credential = credential_of(scope)
    if credential is None:
        return
    if user is None:
        _credentials.pop(credential, None)
        return
    if len(_credentials) >= _MOST_REMEMBERED:
        for old in list(islice(_credentials, _MOST_REMEMBERED // 2)):
            _credentials.pop(old, None)
    _credentials[credential] = (str(user), time.monotonic() + _REMEMBERED_S)


def credential_of(scope: Any) -> bytes | None:
    """Return the digest of a request's token or session; None if it has neither."""
    session = b""
    for name, value in scope["headers"]:
        if name == b"authorization":
            return blake2b(value[:1000], digest_size=16).digest()
        if name == b"cookie":
            for part in value.split(b";"):
                key, _, text = part.strip().partition(b"=")
                if key == settings.SESSION_COOKIE_NAME.encode():
                    session = text
    return blake2b(b"session " + session[:1000], digest_size=16).digest() if session else None


def address(scope: Any) -> str:
    """Return where a request comes from: an IPv4 address, or the network of an IPv6 one, as one person has all of it.

    As with :func:`octolab.addresses.client_address`, only what the server says counts.
    """
    try:
        found = ip_address((scope.get("client") or ("",))[0])
    except ValueError:
        return "local"
    if not isinstance(found, IPv6Address):
        return str(found)
    return str(found.ipv4_mapped or IPv6Address(int(found) >> 64 << 64))


def _owner(credential: bytes) -> str | None:
    user, until_s = _credentials.get(credential, (None, 0.0))
    return user if until_s > time.monotonic() else None


# --- how many websockets


class Crowd:
    """How many connections are open, of this process."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    @contextmanager
    def one_of(self, key: str, limit: int) -> Iterator[None]:
        """Be one more as long as this lasts; raise :class:`TooMany` if there are too many. 0 for no limit."""
        if 0 < limit <= self._open[key]:
            raise TooMany(
                f"More than {limit} websockets are open at the same time. Close some: one carries all events.",
                _CROWDED_S,
            )
        self._open[key] += 1
        try:
            yield
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]


SOCKETS = Crowd()
WAITING = Crowd()
"""Requests that wait for events."""


# --- saying no


async def _refuse(scope: Any, refusal: TooMany, send: Any) -> None:
    kind = "" if scope["type"] == "http" else "websocket."
    if kind and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1013})
        return
    media_type, body = _said(str(refusal)) if kind or scope["path"].startswith("/api/") else _page()
    headers = [
        (b"content-type", media_type),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", str(refusal.retry_after_s).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", settings.CONTENT_SECURITY_POLICY.encode()),
        (b"connection", b"close"),
    ]
    await send({"type": f"{kind}http.response.start", "status": 429, "headers": headers})
    await send({"type": f"{kind}http.response.body", "body": body})


def _said(detail: str) -> tuple[bytes, bytes]:
    document = {
        "type": "urn:octolab:problem:too-many-requests", "title": "Too Many Requests", "status": 429, "detail": detail
    }  # fmt: skip
    return MEDIA_TYPE.encode(), json.dumps(document).encode()


@cache
def _page() -> tuple[bytes, bytes]:
    return b"text/html; charset=utf-8", render_to_string("429.html").encode()
