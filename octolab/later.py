"""Responses that may get better if one waits a little, without a thread that waits.

A view answers at once with what is known and hangs a :class:`Later` on its response (:func:`improve`). The ASGI handler
waits for doorbells and asks again; a server without an event loop sends the first answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from django.http.response import HttpResponseBase

Response = TypeVar("Response", bound=HttpResponseBase)
_ATTRIBUTE = "_octolab_later"


@dataclass(frozen=True)
class Later:
    """How a response may get better."""

    within_s: float
    """The longest wait, real seconds."""
    again: Callable[[], bytes | None]
    """Return the better body, None if there is none yet. Called in a thread with a database connection."""


def improve(response: Response, later: Later) -> Response:
    """Return the response with the promise to ask ``later.again`` after each doorbell."""
    setattr(response, _ATTRIBUTE, later)
    return response


def of(response: HttpResponseBase) -> Later | None:
    """Return what hangs on a response."""
    return getattr(response, _ATTRIBUTE, None)
