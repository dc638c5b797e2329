"""The client for programs that ``await``: the verbs of :class:`~octolab.client.Octolab`, off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

from .calls import Job
from .synchronous import Octolab, Watch

P = ParamSpec("P")
T = TypeVar("T")


def _awaitable(
    verb: Callable[Concatenate[Octolab, P], T],
) -> Callable[Concatenate[AsyncOctolab, P], Awaitable[T]]:
    @wraps(verb)
    async def call(self: AsyncOctolab, *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(verb, self.synchronous, *args, **kwargs)

    return call


class AsyncOctolab:
    """A laboratory's server, as one user sees it; parameters as those of :class:`Octolab`."""

    def __init__(
        self, url: str | None = None, token: str | None = None, *, timeout_s: float = 30.0, tries: int = 6
    ) -> None:
        self.synchronous = Octolab(url, token, timeout_s=timeout_s, tries=tries)

    async def __aenter__(self) -> AsyncOctolab:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    close = _awaitable(Octolab.close)
    submit = _awaitable(Octolab.submit)
    preview = _awaitable(Octolab.preview)
    job = _awaitable(Octolab.job)
    jobs = _awaitable(Octolab.jobs)
    change = _awaitable(Octolab.change)
    cancel = _awaitable(Octolab.cancel)
    control = _awaitable(Octolab.control)
    verbs = _awaitable(Octolab.verbs)
    rerun = _awaitable(Octolab.rerun)
    why = _awaitable(Octolab.why)
    what_if = _awaitable(Octolab.what_if)
    logs = _awaitable(Octolab.logs)
    metrics = _awaitable(Octolab.metrics)
    request = _awaitable(Octolab.request)
    files = _awaitable(Octolab.files)
    results = _awaitable(Octolab.results)
    download = _awaitable(Octolab.download)
    modules = _awaitable(Octolab.modules)
    devices = _awaitable(Octolab.devices)
    plan = _awaitable(Octolab.plan)
    stocks = _awaitable(Octolab.stocks)
    refill = _awaitable(Octolab.refill)
    storage = _awaitable(Octolab.storage)
    collect = _awaitable(Octolab.collect)
    estop = _awaitable(Octolab.estop)
    estops = _awaitable(Octolab.estops)
    rearm = _awaitable(Octolab.rearm)
    locks = _awaitable(Octolab.locks)
    lock = _awaitable(Octolab.lock)
    unlock = _awaitable(Octolab.unlock)
    clear_device = _awaitable(Octolab.clear_device)
    run_by_hand = _awaitable(Octolab.run_by_hand)
    attention = _awaitable(Octolab.attention)
    decide = _awaitable(Octolab.decide)
    approvals = _awaitable(Octolab.approvals)
    approve = _awaitable(Octolab.approve)
    reject = _awaitable(Octolab.reject)
    questions = _awaitable(Octolab.questions)
    answer = _awaitable(Octolab.answer)
    sample = _awaitable(Octolab.sample)
    login = _awaitable(Octolab.login)
    me = _awaitable(Octolab.me)
    tokens = _awaitable(Octolab.tokens)
    revoke = _awaitable(Octolab.revoke)

    async def wait(
        self, job_id: str, *, timeout_s: float | None = None, on_change: Callable[[Job], None] | None = None
    ) -> Job:
        """Return the job once it is final, or needs an operator; see :meth:`Octolab.wait`."""
        watch = Watch(on_change, timeout_s)
        while not watch.ended(job := await self.job(job_id, include="none")):
            await asyncio.sleep(watch.pause_s)
        return job

    async def events(
        self, since: int = 0, *, job_id: str | None = None, follow: bool = False
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield events after a sequence number; ``follow`` goes on with those to come."""
        while True:
            page = await asyncio.to_thread(self.synchronous.events_page, since, job_id, wait=follow)
            for event in page["results"]:
                yield event
            if not page["results"] and not follow:
                return
            since = page["last"]
