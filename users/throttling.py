"""What happens to somebody who guesses passwords."""

from __future__ import annotations

import math
from typing import Any

from axes.helpers import get_cool_off
from django.http import HttpRequest, HttpResponse

LOCKED_OUT = "Too many wrong passwords for this name from this address. Wait, then try again."


def retry_after_s() -> int:
    """Return how long a locked out client has to wait, in seconds."""
    cool_off = get_cool_off()
    return math.ceil(cool_off.total_seconds()) if cool_off else 3600


def locked_out(request: HttpRequest, credentials: Any = None, *args: Any, **kwargs: Any) -> HttpResponse:
    """Answer a login that axes refused. Below ``/api`` the problem middleware gives it its form."""
    return HttpResponse(
        LOCKED_OUT, status=429, content_type="text/plain", headers={"Retry-After": str(retry_after_s())}
    )
