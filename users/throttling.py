"""What happens to somebody who guesses passwords. How many requests anybody may send: :mod:`octolab.throttle`."""

from __future__ import annotations

import math
from typing import Any

from axes.helpers import get_cool_off
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from octolab.addresses import client_address
from octolab.rates import rates


class PasswordThrottle(BaseThrottle):
    """Bound how many passwords one address may try: each costs half a second of computing, right or wrong."""

    _wait_s: int | None = None

    def allow_request(self, request: Request, view: Any) -> bool:
        """Count a try of an address. Only a body with a password is one."""
        if request.method == "POST" and isinstance(request.data, dict) and "password" in request.data:
            address = client_address(request._request) or "local"
            self._wait_s = rates().take(f"password:{address}", settings.REQUESTS_PER_MINUTE["password"])
        return self._wait_s is None

    def wait(self) -> float | None:
        """Return after how many seconds to try again."""
        return self._wait_s


LOCKED_OUT = "Too many wrong passwords for this name from this address. Wait, then try again."


def retry_after_s() -> int:
    """Return how long a locked out client has to wait, in seconds."""
    cool_off = get_cool_off()
    return math.ceil(cool_off.total_seconds()) if cool_off else 3600


def locked_out(request: HttpRequest, credentials: Any = None, *args: Any, **kwargs: Any) -> HttpResponse:
    """Answer a login that axes refused. Below ``/api`` the problem middleware gives it its form."""
    headers = {"Retry-After": str(retry_after_s())}
    if not request.path_info.startswith("/api/"):
        page = render_to_string("429.html", {"said": LOCKED_OUT, "minutes": math.ceil(retry_after_s() / 60)})
        return HttpResponse(page, status=429, headers=headers)
    return HttpResponse(LOCKED_OUT, status=429, content_type="text/plain", headers=headers)
