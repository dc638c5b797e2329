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

QUESTIONS = "octolab:questions"
"""List of questions; see `ask`."""
PLACEMENT_WAIT_S = 0.05
PREVIEW_WAIT_S = 3.0
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
    said = ask({"ask": "what_if", **question_of(job, steps, members)}, wait_s)
    return None if said is None or "error" in said else new_job(said, str(job.id))


def new_job(said: dict[str, Any], job: str) -> Placement:
    """Return where the job of a what-if would stand, by the scheduler's answer."""
    if job in said["unplaced"]:
        return Placement(None, None, said["unplaced"][job])
    row = next(row for row in said["jobs"] if row["job"] == job)
    steps = {step: (span["start_lab_s"], span["finish_lab_s"]) for step, span in said["steps"].items()}
    return Placement(row["start_lab_s"], row["finish_lab_s"], steps=steps)


def ask(question: dict[str, Any], wait_s: float) -> dict[str, Any] | None:
    """Ask the scheduler about the plan (see `scheduler.process.questions`); None if it does not answer in time."""
    question = {"id": str(uuid4()), **question}
    try:
        _client().rpush(QUESTIONS, json.dumps(question))
        _client().expire(QUESTIONS, 10)
    except redis.RedisError:
        return None
    ring("question")
    answer = wait_for(reply_key(question["id"]), wait_s)
    return None if answer is None else json.loads(answer[1])


def question_of(job: Job, steps: Sequence[Step], members: Sequence[StepMember]) -> dict[str, Any]:
    """Return a job as it goes to the scheduler with a question."""
    return {
        "job": {
            "id": str(job.id),
            "owner": str(job.owner_id),
            "project": str(job.project_id),
            "priority": job.priority,
            "deadline": None if job.deadline_at is None else job.deadline_at.isoformat(),
            "expects": int(job.spec.get("expects") or 0),
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
    return Placement(data.get("start_lab_s"), data.get("finish_lab_s"))


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
