"""Responses that may get better if one waits a little, without a thread that waits.

A view answers at once with what is known and hangs a coroutine function on its response (:func:`improve`). The ASGI
handler awaits it in the event loop, and sends the better answer if there is one by then, else the first. A server
without an event loop sends the first answer.

What cannot be answered before something is known raises :class:`NotYetKnown` (:func:`may_wait` tells whether it may):
the handler waits in the event loop, and then serves the request once more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol, TypeVar

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

T = TypeVar("T")
Response = TypeVar("Response", bound=HttpResponseBase)
_ATTRIBUTE = "_octolab_later"
_AGAIN = "_octolab_again"
_may_wait: ContextVar[bool] = ContextVar("may_wait", default=False)


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


class NotYetKnown(Exception):  # noqa: N818 - reads as what happened
    """Something is missing that ``wait`` waits for. Nothing may have been changed before this is raised."""

    def __init__(self, wait: Callable[[], Awaitable[None]]) -> None:
        super().__init__("this is raised only where it is waited for")
        self.wait = wait


@contextmanager
def waiting_allowed() -> Iterator[None]:
    """Let what is called raise :class:`NotYetKnown`."""
    token = _may_wait.set(True)
    try:
        yield
    finally:
        _may_wait.reset(token)


def may_wait() -> bool:
    """Tell whether :class:`NotYetKnown` may be raised: the request would be served again."""
    return _may_wait.get()


def again(response: HttpResponseBase) -> Callable[[], Awaitable[None]] | None:
    """Return what to wait for before the request is served again; None if the response is good."""
    return getattr(response, _AGAIN, None)


class AgainMiddleware:
    """Turns :class:`NotYetKnown` into a response that the handler recognises, and never sends."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Serve the request."""
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Return the response if it is for us."""
        if not isinstance(exception, NotYetKnown):
            return None
        response = HttpResponse(status=204)
        setattr(response, _AGAIN, exception.wait)
        return response
