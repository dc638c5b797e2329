"""Errors as RFC 9457 problem documents, whoever makes them: a view, Django itself, or a middleware."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseForbidden, JsonResponse
from django.template.loader import render_to_string
from rest_framework import exceptions

_log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

_DETAILS = {
    400: "The request cannot be understood. Check its form; a new host name has to stand in OCTOLAB_ALLOWED_HOSTS.",
    403: "You may not do this.",
    404: "There is nothing here that you may see.",
    405: "This address does not take that method. The header Allow lists those it takes.",
    413: "The body is too large.",
    429: "Too many requests. Wait as long as Retry-After says.",
    500: "The server made a mistake; it is in the server's log. Nothing that was accepted before is lost.",
    503: "A part of the server is away. Try again soon.",
}


class Problem(exceptions.APIException):
    """An error with a status, a code that programs can switch on, and a sentence that tells what to do next."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status_code = status
        self.code = code
        self.errors = list(errors)
        self.headers = dict(headers or {})


def invalid(*errors: tuple[str, str], detail: str = "The request is well formed, but not valid.") -> Problem:
    """Return the problem for values that are wrong.

    Parameters
    ----------
    *errors
        JSON pointer into the body (or ``?name`` of a query parameter), and what would be right.
    """
    return Problem(422, "invalid", detail, errors=[{"path": path, "message": message} for path, message in errors])


def problem_response(
    request: HttpRequest,
    status: int,
    code: str = "",
    detail: str = "",
    errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> HttpResponse:
    """Return a problem document."""
    title = HTTPStatus(status).phrase
    document: dict[str, Any] = {
        "type": f"urn:octolab:problem:{code or title.lower().replace(' ', '-')}",
        "title": title,
        "status": status,
        "detail": detail or _DETAILS.get(status, title),
        "instance": request.path,
    }
    if errors:
        document["errors"] = list(errors)
    return JsonResponse(document, status=status, content_type=MEDIA_TYPE, headers=headers)


def to_response(error: Exception, context: Mapping[str, Any]) -> HttpResponse | None:
    """Turn what a view raised into a problem document. REST framework's ``EXCEPTION_HANDLER``."""
    request: HttpRequest = context["request"]._request
    match error:
        case Http404():
            error = exceptions.NotFound(_DETAILS[404])
        case DjangoPermissionDenied():
            error = exceptions.PermissionDenied(str(error) or _DETAILS[403])
        case OperationalError():
            # Locked by somebody else for too long, no room on its disk, or no server: no mistake of this program.
            _log.warning("the database is away: %s", error)
            error = Problem(
                503,
                "database-away",
                "The database cannot be used at the moment, and nothing was changed. Try again soon.",
                headers={"Retry-After": "2"},
            )
    if not isinstance(error, exceptions.APIException):
        return None
    headers = dict(getattr(error, "headers", {}))
    if wait_s := getattr(error, "wait", None):
        headers["Retry-After"] = str(int(wait_s) + 1)
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    match error:
        case Problem():
            return problem_response(
                request, error.status_code, error.code, str(error.detail), error.errors, headers=headers
            )
        case exceptions.ValidationError():
            problem = invalid(*_flat(error.detail))
            return problem_response(request, 422, problem.code, str(problem.detail), problem.errors)
        case exceptions.MethodNotAllowed():
            headers["Allow"] = ", ".join(context["view"].allowed_methods)
            return problem_response(request, 405, headers=headers)
        case exceptions.UnsupportedMediaType():
            taken = ", ".join(parser.media_type for parser in context["view"].parser_classes)
            sent = str(request.headers.get("Content-Type", ""))[:100]
            detail = f"The body's type {sent!r} is not taken here. Send one of: {taken}."
            return problem_response(request, 415, detail=detail, headers={**headers, "Accept": taken})
        case _:
            return problem_response(request, error.status_code, detail=str(error.detail), headers=headers)


def _flat(detail: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield (JSON pointer, message) of REST framework's nested lists and dicts."""
    if isinstance(detail, Mapping):
        for key, value in detail.items():
            name = str(key).replace("~", "~0").replace("/", "~1")
            yield from _flat(value, path if key == "non_field_errors" else f"{path}/{name}")
    elif isinstance(detail, list):
        for index, value in enumerate(detail):
            yield from _flat(value, f"{path}/{index}" if isinstance(value, Mapping) else path)
    else:
        yield path, str(detail)


class ProblemMiddleware:
    """Give the errors below ``/api/`` that no view has formed (Django's 404, 405, 500 …) the form of all others."""

    _KEPT = ("Allow", "Retry-After", "WWW-Authenticate")

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Serve the request."""
        response = self.get_response(request)
        if response.status_code < 400 or not request.path_info.startswith("/api/"):
            return response
        if response.headers.get("Content-Type", "").startswith(MEDIA_TYPE):
            return response
        plain = response.headers.get("Content-Type", "").startswith("text/plain") and not response.streaming
        detail = response.content.decode()[:500] if plain and response.status_code == 429 else ""
        if response.status_code == 404 and (without := request.path_info.rstrip("/")) != request.path_info:
            detail = f"No address of the API ends with a slash. Try {without[:500]}."
        headers = {name: response.headers[name] for name in self._KEPT if name in response.headers}
        problem = problem_response(request, response.status_code, detail=detail, headers=headers)
        problem.cookies = response.cookies
        # Closed with the problem: closing a response tells Django that the request is over.
        problem._resource_closers.extend(response._resource_closers)  # type: ignore[attr-defined]  # noqa: SLF001
        return problem


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form or a call without the CSRF token."""
    detail = "The page was open for too long, or cookies are blocked. Load it again, then repeat."
    if request.path_info.startswith("/api/"):
        return problem_response(request, 403, "csrf", detail)
    return HttpResponseForbidden(render_to_string("octolab/csrf.html"))
