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
        "/static/", "/account/logout/", "/account/password/", "/estop")  # fmt: skip
"""What stays open: setting up, leaving, and the emergency stop."""


class SecondFactorMiddleware:
    """Who has to have a second factor and has none gets no further than to the page where one is set up.

    Tokens do not come here: they are made by who has signed in in full.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Serve the request, or send to the set-up."""
        if settings.SESSION_COOKIE_NAME not in request.COOKIES or request.path_info.startswith(OPEN):
            return self.get_response(request)
        if request.path_info.startswith("/api/") and ("HTTP_AUTHORIZATION" in request.META or "estop" in request.path):
            return self.get_response(request)
        if request.user.is_authenticated and needs_second_factor(request.user):
            said = "Your role needs a second factor. Set one up on the dashboard first."
            if request.path_info.startswith("/api/"):
                return problem_response(request, 403, "second-factor", said)
            messages.warning(request, said)
            return redirect("mfa_index")
        return self.get_response(request)


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
