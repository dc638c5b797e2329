"""How the web asks the scheduler for predictions: where a new job stands, and where one that is not kept would.

Answers come over Redis. They are a courtesy: without one in time the prediction is unknown and follows as an event.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid4
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from django.conf import settings

from modules.contract.messages import SCHEDULER_BELL
from scheduler.models import Job, Step, StepMember

PREVIEWS = "octolab:previews"
"""List of questions; see `preview` and `ask`."""
PLACEMENT_WAIT_S = 0.05
PREVIEW_WAIT_S = 2.0
_TIMEOUTS: dict[str, Any] = {"socket_timeout": 5.0, "socket_connect_timeout": 0.5}


def placement_key(job_id: UUID | str) -> str:
    """Return the list at which the answer about a new job arrives."""
    return f"octolab:placed:{job_id}"


def reply_key(question_id: UUID | str) -> str:
    """Return the list at which the answer to a question or a request arrives."""
    return f"octolab:reply:{question_id}"


@dataclass(frozen=True)
class Placement:
    """Where a job stands in the plan, in lab seconds; `reason` says why it stands nowhere yet."""

    start_lab_s: float | None
    finish_lab_s: float | None
    reason: str = ""
    steps: dict[str, tuple[float, float]] | None = None
    """Start and end of each step by id; previews only."""


def ring(why: str = "") -> None:
    """Wake the scheduler; if Redis is away it looks within a second by itself."""
    try:
        _client().publish(SCHEDULER_BELL, why)
    except redis.RedisError:
        return


async def placement_of(job_id: UUID, wait_s: float = PLACEMENT_WAIT_S) -> Placement | None:
    """Wait for the placement of a job that has just been committed; None if it is not known in time."""
    try:
        return _placement(await _aclient().blpop(placement_key(job_id), timeout=wait_s))
    except redis.RedisError:
        return None


def placement_of_sync(job_id: UUID, wait_s: float = PLACEMENT_WAIT_S) -> Placement | None:
    """Do the same as `placement_of` in a thread."""
    return _placement(wait_for(placement_key(job_id), wait_s))


def preview(
    job: Job, steps: Sequence[Step], members: Sequence[StepMember], wait_s: float = PREVIEW_WAIT_S
) -> Placement | None:
    """Ask where a job would stand that is not kept; the rows are those that would have been saved.

    Returns
    -------
    Placement or None
        None if the scheduler does not answer in time.
    """
    return _placement(_asked(question_of(job, steps, members), wait_s))


def ask(question: dict[str, Any], wait_s: float) -> dict[str, Any] | None:
    """Ask the scheduler about the plan (see `scheduler.process.questions`); None if it does not answer in time."""
    answer = _asked({"id": str(uuid4()), **question}, wait_s)
    return None if answer is None else json.loads(answer[1])


def _asked(question: dict[str, Any], wait_s: float) -> Any:
    try:
        _client().rpush(PREVIEWS, json.dumps(question))
        _client().expire(PREVIEWS, 10)
    except redis.RedisError:
        return None
    ring("question")
    return wait_for(reply_key(question["id"]), wait_s)


def question_of(job: Job, steps: Sequence[Step], members: Sequence[StepMember]) -> dict[str, Any]:
    """Return a preview's question as it goes to the scheduler."""
    return {
        "id": str(uuid4()),
        "job": {
            "id": str(job.id),
            "priority": job.priority,
            "manifests": job.manifests,
            "submitted": job.submitted_lab_s,
        },
        "steps": [_step(step) for step in steps],
        "members": [[str(m.step_id), str(m.task_id), str(m.sample_id) if m.sample_id else None] for m in members],
    }


def wait_for(key: str, wait_s: float) -> Any:
    """Wait for what is pushed to a list; None if nothing comes in time or Redis is away."""
    try:
        return _client().blpop([key], timeout=wait_s)
    except redis.RedisError:
        return None


def _step(step: Step) -> dict[str, Any]:
    fields = ("index", "name", "module", "task_name", "action", "dormant", "devices", "takes", "frees", "settings")
    row = {name: getattr(step, name) for name in (*fields, "needs", "duration_s")}
    return {"id": str(step.id), "block": str(step.block), **row}


def _placement(answer: Any) -> Placement | None:
    if answer is None:
        return None
    data = json.loads(answer[1])
    steps = data.get("steps")
    return Placement(
        data.get("start_lab_s"),
        data.get("finish_lab_s"),
        data.get("reason", ""),
        None if steps is None else {key: (start, end) for key, (start, end) in steps.items()},
    )


@lru_cache(maxsize=4)
def _client_for(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, **_TIMEOUTS)


def _client() -> redis.Redis:
    return _client_for(settings.REDIS_URL)


_aclients: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[str, redis.asyncio.Redis]] = WeakKeyDictionary()


def _aclient() -> redis.asyncio.Redis:
    """Return a client of the running event loop."""
    loop = asyncio.get_running_loop()
    url, client = _aclients.get(loop, ("", None))
    if client is None or url != settings.REDIS_URL:
        client = redis.asyncio.Redis.from_url(settings.REDIS_URL, **_TIMEOUTS)
        _aclients[loop] = (settings.REDIS_URL, client)
    return client
