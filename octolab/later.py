"""Responses that may get better if one waits a little, without a thread that waits.

A view answers at once with what is known and hangs a coroutine function on its response (:func:`improve`). The ASGI
handler awaits it in the event loop, and sends the better answer if there is one by then, else the first. A server
without an event loop sends the first answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from django.http.response import HttpResponseBase

T = TypeVar("T")
Response = TypeVar("Response", bound=HttpResponseBase)
_ATTRIBUTE = "_octolab_later"


class InThread(Protocol):
    """Runs a function in a thread that has a database connection."""

    def __call__(self, function: Callable[[], T], /) -> Awaitable[T]:
        """Return what the function returns."""
        ...


@dataclass(frozen=True)
class Better:
    """A better answer."""

    body: bytes
    status: int | None = None
    """None for that of the first answer."""
    content_type: str = "application/json"


Later = Callable[[InThread], Awaitable[Better | None]]
"""Waits for a better answer; returns None if there is none in good time."""


def improve(response: Response, later: Later) -> Response:
    """Return the response with the promise that ``later`` may find a better answer."""
    setattr(response, _ATTRIBUTE, later)
    return response


def of(response: HttpResponseBase) -> Later | None:
    """Return what hangs on a response."""
    return getattr(response, _ATTRIBUTE, None)
