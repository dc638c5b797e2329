"""From the services to the API: their errors become problems, and the scheduler's answer is awaited for a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request as HttpRequest
from rest_framework.response import Response

from octolab import bell
from octolab.api import errors
from octolab.api.errors import Problem
from octolab.labtime import moment
from octolab.later import Better, InThread, improve
from scheduler.jobformat.problems import JobRefused
from scheduler.models import Request
from scheduler.services.jobs import CheckedJob, IdempotencyConflict, LabNotReady, NotChangeable
from scheduler.services.limits import OverLimit
from scheduler.services.placement import PLACEMENT_WAIT_S, placement_key, reply_key
from scheduler.services.previews import predict
from scheduler.services.requests import Answer, IllegalStateError
from users.models import Token

from .outputs import WishOutput

MOST_WAITING = 2
"""How many submits wait for their prediction at the same time; under load the others get it as an event."""
ANSWER_WAIT_S = 0.5
"""How long an answer to a wish waits for the scheduler to apply it; afterwards the wish is merely noted."""


@contextmanager
def as_problems() -> Iterator[None]:
    """Turn the errors of the services into problems."""
    try:
        yield
    except JobRefused as refused:
        found = [{"path": problem.path, "message": str(problem)} for problem in refused.problems]
        raise Problem(422, "job-refused", "The job cannot be accepted; nothing was kept.", errors=found) from refused
    except IdempotencyConflict as conflict:
        raise Problem(409, "idempotency-conflict", str(conflict)) from conflict
    except OverLimit as error:
        if error.retry_after_s is None:
            raise Problem(409, "over-quota", str(error)) from error
        raise Problem(429, "over-quota", str(error), headers={"Retry-After": str(error.retry_after_s)}) from error
    except NotChangeable as error:
        raise Problem(409, "not-changeable", str(error)) from error
    except IllegalStateError as error:
        raise Problem(409, "illegal-state", str(error)) from error
    except LabNotReady as error:
        raise Problem(503, "lab-not-ready", str(error), headers={"Retry-After": "5"}) from error


def by_agent(request: HttpRequest) -> bool:
    """Tell whether a request comes with the token of an automatic agent."""
    return isinstance(request.auth, Token) and request.auth.agent


def when_placed(response: Response, job_id: UUID, show: Callable[[Mapping[str, Any]], Any]) -> Response:
    """Let a response wait a moment for the scheduler's prediction, which ``show`` puts into the answer."""

    async def wait(in_thread: InThread) -> Better | None:
        placement = await bell.events().answer(placement_key(job_id), PLACEMENT_WAIT_S, most=MOST_WAITING)
        if placement is None:
            return None
        return Better(JSONRenderer().render(show(placement)))

    return improve(response, wait)


def when_applied(response: Response, request: Any, made: Request, show: Callable[[], Any]) -> Response:
    """Let a response wait a moment for the scheduler to apply a wish.

    If it was applied, the answer is what ``show`` returns then; if it was refused, a problem that says why.
    """

    async def wait(in_thread: InThread) -> Better | None:
        answer = await bell.events().answer(reply_key(made.pk), ANSWER_WAIT_S)
        if answer is None:
            return None
        if answer.get("refused"):
            problem = errors.problem_response(request._request, 409, "refused", str(answer["refused"]))
            return Better(problem.content, 409, errors.MEDIA_TYPE)
        return Better(await in_thread(lambda: JSONRenderer().render(show())))

    return improve(response, wait)


def wished(request: Any, answer: Answer) -> Response:
    """Return the answer that shows a wish and, if the scheduler is quick, what came of it."""
    made = answer.request
    return when_applied(
        Response(WishOutput(made).data, status=202),
        request,
        made,
        lambda: WishOutput(Request.objects.get(pk=made.pk)).data,
    )


def when_previewed(response: Response, checked: CheckedJob, answer: dict[str, Any]) -> Response:
    """Let a response wait for the scheduler's prediction of a job that is not kept."""

    async def wait(in_thread: InThread) -> Better | None:
        # It blocks, but needs no database: any thread will do, and no database thread waits.
        placement = await asyncio.to_thread(predict, checked)
        if placement is None:
            return None
        predicted = {
            "predicted_start": moment(placement.start_lab_s),
            "predicted_finish": moment(placement.finish_lab_s),
            "reason": placement.reason,
        }
        return Better(JSONRenderer().render({**answer, **predicted}))

    return improve(response, wait)
