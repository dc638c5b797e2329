"""Second factors that a role needs, and a provider of single sign-on that does not answer."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from requests import RequestException

from octolab.api.errors import problem_response

from .services import needs_second_factor

_log = logging.getLogger(__name__)
OPEN = ("/account/2fa/", "/account/reauthenticate/", "/account/email/", "/account/confirm-email/", "/logout",
        "/static/", "/account/logout/", "/account/password/", "/estop/part/")  # fmt: skip
"""What stays open: setting up, and leaving."""
STOP = ("/estop", "/api/v1/estop")
"""The emergency stop stays open, too; re-arming does not."""


class SecondFactorMiddleware:
    """Who has to have a second factor and has none gets no further than to the page where one is set up.

    Tokens do not come here: they are made by who has signed in in full.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Serve the request, or send to the set-up."""
        path = request.path_info
        if settings.SESSION_COOKIE_NAME not in request.COOKIES or path.startswith(OPEN) or path in STOP:
            return self.get_response(request)
        if path.startswith("/api/") and _has_a_token(request):
            return self.get_response(request)
        if request.user.is_authenticated and needs_second_factor(request.user):
            said = "Your role needs a second factor. Set one up on the dashboard first."
            if path.startswith("/api/"):
                return problem_response(request, 403, "second-factor", said)
            messages.warning(request, said)
            return redirect("mfa_index")
        return self.get_response(request)


def _has_a_token(request: HttpRequest) -> bool:
    """Tell whether the session does not matter: what calls itself a token is one that works, or a 401."""
    kind, _, _ = request.META.get("HTTP_AUTHORIZATION", "").strip().partition(" ")
    return kind.lower() == "bearer"


class ProviderAwayMiddleware:
    """Sends back to where one signs in with a password."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass on."""
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Explain a provider that does not answer; leave everything else to others."""
        if not isinstance(error, RequestException):
            return None
        _log.warning("the provider of single sign-on does not answer: %s", error)
        messages.error(
            request,
            "Single sign-on does not answer. Sign in with your password, or try again soon.",
            extra_tags="bad",
        )
        return redirect("login")
