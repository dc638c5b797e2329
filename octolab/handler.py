"""How HTTP requests reach Django: whole requests on a few persistent threads.

Django's own handler takes a new thread, and with it a new database connection, for every request, and hops between
thread and event loop at each middleware. Here a request is one hop to a thread that keeps its connection for ever.
Whatever waits (for a placement, for events, for a slow client) waits in the event loop and holds no thread.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from tempfile import SpooledTemporaryFile
from typing import IO, Any, TypeVar

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.core import signals
from django.core.exceptions import RequestAborted, RequestDataTooBig
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.http import FileResponse, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import get_resolver, set_script_prefix

from . import bell, later, throttle
from .api.errors import MEDIA_TYPE

T = TypeVar("T")

# More threads are not faster, as Python runs one at a time; a second keeps quick requests going beside a slow one.
THREADS = int(os.environ.get("OCTOLAB_WEB_THREADS", "2"))
_APART = {
    "sign-on": (("GET", "POST"), ("/account/oidc/", "/account/3rdparty/")),
    "accounts": (("POST",), ("/login", "/account/", "/admin/", "/api/v1/tokens")),
}
"""Methods and beginnings of paths of what has threads of its own because it is slow: what asks a provider of single
sign-on, who may hang; and what computes hashes of passwords or sends mail."""
MOST_SLOW = 50
"""Requests of one of these kinds that have a thread or wait for one; beyond, they are told to come again."""
BODY_TIMEOUT_S = 60.0
"""How long a client may take to send a body."""
BODY_IN_MEMORY = 64 * 1024
"""Bytes of a body that wait in memory while it is read; the rest waits in a file, however many clients send."""
_END = object()


class Handler(ASGIHandler):
    """Serve HTTP with a pool of persistent threads."""

    def __init__(self) -> None:
        BaseHandler.__init__(self)
        self.load_middleware(is_async=False)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="web")
        self._urgent = ThreadPoolExecutor(THREADS, thread_name_prefix="urgent")
        self._apart = {name: ThreadPoolExecutor(THREADS, thread_name_prefix=name) for name in _APART}
        self._slow: Counter[str] = Counter()
        # All views are imported before the first request, not by it.
        _ = get_resolver().url_patterns

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            raise ValueError(f"this serves HTTP, not {scope['type']}")
        bell.events()  # from the first request on, so that the first submit hears its answer
        with SpooledTemporaryFile(BODY_IN_MEMORY) as body:
            try:
                async with asyncio.timeout(BODY_TIMEOUT_S):
                    await self._read_body(scope, receive, body)
            except RequestAborted:
                return
            except RequestDataTooBig as error:
                await self.send_response(_plain_problem(413, str(error)), send)
                return
            except TimeoutError:
                await self.send_response(_plain_problem(408, "The body did not arrive in time."), send)
                return
            response = await self._answer(scope, body)
        waits = later.of(response)
        if waits is not None and response.status_code < 400 and not await self._improve(response, waits, receive):
            return
        await self._send(response, receive, send)

    async def _answer(self, scope: Any, body: IO[bytes]) -> HttpResponseBase:
        """Let a thread answer: what is urgent queues behind nothing, and nothing behind what is slow."""
        if scope["method"] == "POST" and scope["path"] in throttle.URGENT:
            return await self._answer_in(self._urgent, scope, body)
        kind = _slow_kind(scope)
        if kind is None:
            return await self._answer_in(self._threads, scope, body)
        if self._slow[kind] >= MOST_SLOW:
            return _plain_problem(503, "Too many wait for this already. Try again soon.")
        self._slow[kind] += 1
        try:
            return await self._answer_in(self._apart[kind], scope, body)
        finally:
            self._slow[kind] -= 1

    async def _answer_in(self, pool: ThreadPoolExecutor, scope: Any, body: IO[bytes]) -> HttpResponseBase:
        response = await self._in_thread(self._respond_or_wait, scope, body, _pool=pool)
        if wait := later.again(response):
            await wait()
            body.seek(0)
            response = await self._in_thread(self._respond, scope, body, _pool=pool)
        return response

    async def _in_thread(self, function: Callable[..., T], *args: Any, _pool: ThreadPoolExecutor | None = None) -> T:
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(
            _pool or self._threads, lambda: context.run(function, *args)
        )

    async def _read_body(self, scope: Any, receive: Any, body: IO[bytes]) -> None:
        """Read the body, but never more of it than the limit."""
        limit = settings.MAX_BODY_BYTES
        too_big = RequestDataTooBig(f"A body has at most {limit} bytes.")
        for name, value in scope.get("headers", ()):
            if name == b"content-length" and value.isdigit() and int(value[:20]) > limit:
                raise too_big
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RequestAborted
            body.write(message.get("body", b""))
            if body.tell() > limit:
                raise too_big
            if not message.get("more_body", False):
                body.seek(0)
                return

    def _respond_or_wait(self, scope: Any, body: IO[bytes]) -> HttpResponseBase:
        with later.waiting_allowed():
            return self._respond(scope, body)

    def _respond(self, scope: Any, body: IO[bytes]) -> HttpResponseBase:
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=type(self), scope=scope)
        request, refusal = self.create_request(scope, body)
        response: Any = refusal if request is None else self.get_response(request)
        if request is not None:
            _remember(scope, request, response)
        response._handler_class = type(self)  # noqa: SLF001  (as Django's own handlers do: the sender of a signal)
        if isinstance(response, FileResponse):
            response.block_size = self.chunk_size
        if later.again(response):
            # Closing it would close the body, which is to be read once more.
            signals.request_finished.send(sender=type(self))
        elif not response.streaming:
            response.close()
        return response

    async def _improve(self, response: Any, waits: later.Later, receive: Any) -> bool:
        """Wait for a better answer; return False if the client has gone away meanwhile."""

        def in_thread(function: Callable[[], T]) -> Awaitable[T]:
            return self._in_thread(_like_a_request, function)

        better = asyncio.ensure_future(waits(in_thread))
        gone = asyncio.ensure_future(receive())
        try:
            await asyncio.wait({better, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not better.done():
                return False
            found = better.result()
        finally:
            gone.cancel()
            better.cancel()
        if found is not None:
            response.content = found.body
            response.status_code = found.status or response.status_code
            response.headers["Content-Type"] = found.content_type
            response.headers["Content-Length"] = str(len(found.body))
        return True

    async def _send(self, response: HttpResponseBase, receive: Any, send: Any) -> None:
        if not response.streaming:
            await self.send_response(response, send)
            return
        gone = asyncio.ensure_future(receive())
        try:
            if not response.is_async:  # type: ignore[attr-defined]
                response.streaming_content = self._parts(  # type: ignore[attr-defined]
                    iter(response), gone
                )
            await self.send_response(response, send)
        finally:
            gone.cancel()
            await self._in_thread(response.close)

    async def _parts(self, parts: Iterator[bytes], gone: asyncio.Future[Any]) -> AsyncIterator[bytes]:
        """Read a file part by part in a thread, as fast as the client takes it."""
        while not gone.done():
            part = await self._in_thread(next, parts, _END)  # type: ignore[arg-type]
            if part is _END:
                return
            yield part  # type: ignore[misc]


def _like_a_request(function: Callable[[], T]) -> T:
    """Call a function between the signals by which Django looks after the thread's database connection."""
    signals.request_started.send(sender=Handler)
    try:
        return function()
    finally:
        signals.request_finished.send(sender=Handler)


def _slow_kind(scope: Any) -> str | None:
    for kind, (methods, beginnings) in _APART.items():
        if scope["method"] in methods and scope["path"].startswith(beginnings):
            return kind
    return None


def _remember(scope: Any, request: Any, response: HttpResponseBase) -> None:
    """Tell the throttle whose credential came, as far as somebody has found out."""
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        throttle.remember(scope, None)
    # A page's user counts only if the page itself has looked: it may take a query.
    elif isinstance(user := getattr(request, "_cached_user", None) or vars(request).get("user"), AbstractBaseUser):
        throttle.remember(scope, user.pk)


def _plain_problem(status: int, detail: str) -> HttpResponse:
    document = b'{"type": "about:blank", "status": %d, "detail": "%s"}' % (status, detail.encode())
    return HttpResponse(document, status=status, content_type=MEDIA_TYPE, headers={"Connection": "close"})
