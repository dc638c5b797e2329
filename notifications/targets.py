"""Where messages may be sent: which services, with which options, and to which addresses.

A channel's URL comes from a user and is fetched from inside the lab's network. So only listed services are taken;
only listed options (some others of apprise read files of the server); and no connection is made to an address that is
not public, whatever a name resolves to and wherever a redirect leads, unless ``OCTOLAB_NOTIFY_PRIVATE`` allows it.
"""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

from django.conf import settings

SERVICES = {
    "discord": "Discord",
    "gchat": "Google Chat",
    "gotify": "Gotify",
    "gotifys": "Gotify",
    "json": "Webhook",
    "jsons": "Webhook",
    "mailto": "Mail",
    "mailtos": "Mail",
    "matrix": "Matrix",
    "matrixs": "Matrix",
    "mmost": "Mattermost",
    "mmosts": "Mattermost",
    "ntfy": "ntfy",
    "ntfys": "ntfy",
    "pover": "Pushover",
    "rocket": "Rocket.Chat",
    "rockets": "Rocket.Chat",
    "slack": "Slack",
    "tgram": "Telegram",
    "workflow": "Microsoft Teams",
    "workflows": "Microsoft Teams",
    "wxteams": "Webex",
    "zulip": "Zulip",
}
"""Scheme of apprise → name of the service."""

OPTIONS = frozenset(
    {
        *("channel", "to", "from", "cc", "bcc", "name", "user", "pass", "smtp", "mode", "reply", "format"),
        *("priority", "tags", "topic", "thread", "id", "signature", "sig", "ver", "route", "group", "auth", "token"),
    }
)
"""What may stand behind the question mark. Headers of webhooks (``+Name=value``) may, too."""

MAX_LENGTH = 2_000
SERVICE_TIMEOUT_S = 20.0
_SCHEME = re.compile(r"([a-z]{2,20})://.+", re.DOTALL)
_UNSEEN = re.compile(r"[\x00-\x20\x7f]")
_refusals: ContextVar[list[str] | None] = ContextVar("refusals", default=None)
"""The addresses that were refused while messages may only go to public ones; None while any will do."""


class TargetError(ValueError):
    """The URL cannot be used for a channel; the text tells what would be right, and holds nothing of the URL."""


class PrivateAddressError(OSError):
    """A connection to an address that is not public was about to be made."""


def service_of(url: str) -> str:
    """Return the name of the service, for people."""
    return SERVICES.get(url.partition("://")[0].lower(), "unknown")


def check(url: str) -> None:
    """Refuse a URL that no message may be sent to.

    Raises
    ------
    TargetError
        Saying what would be right.
    """
    if len(url) > MAX_LENGTH or _UNSEEN.search(url):
        raise TargetError(f"A URL has at most {MAX_LENGTH} characters, and neither spaces nor control characters.")
    match = _SCHEME.fullmatch(url)
    if match is None or match[1] not in SERVICES:
        raise TargetError(f"The URL has to begin with one of {', '.join(f'{name}://' for name in sorted(SERVICES))}.")
    if "://" in url.partition("://")[2].partition("?")[0]:
        raise TargetError("A channel has one URL.")
    # All that follows the first question mark, as apprise reads it: for it, a '#' begins no fragment.
    options = [name for name, _ in parse_qsl(url.partition("?")[2], keep_blank_values=True)]
    # parse_qsl turns the plus sign of a header into a space.
    refused = [name for name in options if name.lower() not in OPTIONS and not name.startswith(("+", " "))]
    if refused:
        raise TargetError(f"Options of a URL may be {', '.join(sorted(OPTIONS))}, not {refused[0][:50]!r}.")
    plugin = instantiate(url)
    if plugin is None:
        raise TargetError(f"This is not a URL of {service_of(url)}: see the service's page in apprise's documentation.")
    if not settings.NOTIFY_PRIVATE and _is_private_literal(str(getattr(plugin, "host", "") or "")):
        raise TargetError("Messages are only sent to public addresses; the lab's administrator can allow others.")


def instantiate(url: str) -> Any:
    """Return apprise's object for a URL, None if it does not understand it."""
    from apprise import Apprise

    return Apprise.instantiate(url, asset=asset(), suppress_exceptions=True)


@cache
def asset() -> Any:
    """Return apprise's settings."""
    from apprise import AppriseAsset

    return AppriseAsset(
        app_id="octolab", app_desc="octolab", app_url="", http_redirects=False, service_timeout=SERVICE_TIMEOUT_S
    )


def _is_private_literal(host: str) -> bool:
    host = host.strip("[]").rstrip(".").lower()
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return not _is_public(host)


def _is_public(address: str) -> bool:
    from apprise.utils.http import is_public_ip_address

    return bool(is_public_ip_address(address.partition("%")[0]))


@contextmanager
def public_only() -> Iterator[list[str]]:
    """Refuse every connection to an address that is not public, here and in the threads that apprise sends from.

    The address is looked at in the moment when the connection is made, so this holds for names that resolve to
    something else the second time, and for redirects.

    Yields
    ------
    list of str
        The addresses that were refused.
    """
    _install_guard()
    refusals: list[str] = []
    token = _refusals.set(None if settings.NOTIFY_PRIVATE else refusals)
    try:
        yield refusals
    finally:
        _refusals.reset(token)


@cache
def _install_guard() -> None:
    # Python calls it before each connection, whichever library makes it.
    sys.addaudithook(_guard)


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in {"socket.connect", "socket.sendto"} or (refusals := _refusals.get()) is None:
        return
    address = arguments[1]
    if not isinstance(address, tuple) or not _is_public(str(address[0])):
        refusals.append(str(address))
        raise PrivateAddressError("messages are only sent to public addresses")
