"""Who looks at a page."""

from __future__ import annotations

from django.http import HttpRequest

from users.models import User


def asker(request: HttpRequest) -> User:
    """Return the signed-in user of a request that has passed ``login_required``."""
    if not isinstance(request.user, User):
        raise TypeError("this view lacks login_required")
    return request.user
