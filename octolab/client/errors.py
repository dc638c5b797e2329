"""What can go wrong, made from the server's problem documents (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx


class OctolabError(Exception):
    """Base of all errors of the client library."""


class UnreachableError(OctolabError):
    """The server could not be reached, or gave up, although the request was repeated where that is harmless."""


class CorruptDownloadError(OctolabError):
    """A downloaded file does not have the checksum that the server told; nothing was kept."""


@dataclass(frozen=True)
class FieldError:
    """One thing that is wrong with what was sent."""

    path: str
    """Where it stands: ``workflow[3].with.volume``; empty for the whole."""
    message: str
    """What would be right."""


class ApiError(OctolabError):
    """The server refused a request.

    Attributes
    ----------
    status
        HTTP status.
    type
        URI of the kind of problem.
    detail
        The server's explanation.
    errors
        What is wrong, field by field.
    document
        The problem document as the server sent it.
    """

    def __init__(
        self,
        status: int,
        problem_type: str,
        detail: str,
        errors: Sequence[FieldError] = (),
        document: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.document = dict(document or {"type": problem_type, "status": status, "detail": detail})
        self.status = status
        self.type = problem_type
        self.detail = detail
        self.errors = tuple(errors)

    def __str__(self) -> str:
        lines = [f"{error.path}: {error.message}" if error.path else error.message for error in self.errors]
        return "\n".join([self.detail, *(f"  {line}" for line in lines)])


class InvalidError(ApiError):
    """What was sent is not valid; nothing was kept (400, 413, 422)."""


class NotAuthenticatedError(ApiError):
    """The token is missing, wrong, expired or revoked (401)."""


class ForbiddenError(ApiError):
    """The token's scopes or the user's rights do not suffice (403)."""


class NotFoundError(ApiError):
    """There is no such thing, or not for this user (404)."""


class ConflictError(ApiError):
    """The state of things does not allow it (409)."""


_KINDS: dict[int, type[ApiError]] = {
    400: InvalidError,
    401: NotAuthenticatedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    413: InvalidError,
    422: InvalidError,
}


def error_of(response: httpx.Response) -> ApiError:
    """Return the error for a response of status 400 or above, whose body has been read."""
    document: Any = {}
    if "json" in response.headers.get("content-type", ""):
        try:
            document = response.json()
        except ValueError:
            document = {}
    if not isinstance(document, dict):
        document = {}
    fields = document.get("errors", ())
    errors = [
        FieldError(str(field.get("path", "")), str(field.get("message", "")))
        for field in (fields if isinstance(fields, list) else ())
        if isinstance(field, dict)
    ]
    status = response.status_code
    detail = str(document.get("detail") or document.get("title") or f"The server answered {status}.")
    return _KINDS.get(status, ApiError)(status, str(document.get("type", "about:blank")), detail, errors, document)
