"""Jobs of people whose account was locked: what has begun is finished, what has not is held.

It waits until somebody answers for it, or until the account is unlocked and its owner releases it.
"""

from __future__ import annotations

import time

from scheduler.models import Request
from scheduler.process.control import JobControl
from scheduler.process.live import LabState, LiveJob
from scheduler.states import JobState
from users.models import User

LOOK_S = 5.0
"""Real seconds between two looks."""
_ANSWERED_FOR = ("release", "approve")


class Absent:
    """Holds the jobs of locked accounts, each once: whoever releases one answers for it."""

    def __init__(self, state: LabState, control: JobControl) -> None:
        self.state = state
        self.control = control
        self._next_s = 0.0

    def look(self) -> None:
        """Hold what has not begun and belongs to somebody who is gone, if it is time to look."""
        if time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + LOOK_S
        waiting = [job for job in self.state.jobs.values() if job.state == JobState.QUEUED]
        owners = {job.owner_id for job in waiting}
        if not owners:
            return
        gone = {str(pk) for pk in User.objects.filter(pk__in=owners, is_active=False).values_list("pk", flat=True)}
        theirs = {job.id: job for job in waiting if job.owner_id in gone}
        for name in theirs.keys() - self._answered_for(theirs):
            self._hold(theirs[name])

    def _answered_for(self, jobs: dict[str, LiveJob]) -> set[str]:
        """Return the jobs that somebody else has released or approved."""
        if not jobs:
            return set()
        rows = Request.objects.filter(job_id__in=jobs, verb__in=_ANSWERED_FOR, refused="").exclude(applied_at=None)
        pairs = ((str(job), str(actor)) for job, actor in rows.values_list("job_id", "actor_id"))
        return {job for job, actor in pairs if actor != jobs[job].owner_id}

    def _hold(self, job: LiveJob) -> None:
        who = f"the account of {job.owner} is locked"
        self.control.hold(job, "octolab", f"{who}; an admin of the project may release the job, or cancel it")
