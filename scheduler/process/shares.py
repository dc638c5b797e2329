"""Fair share in the live lab: who has used what of late, and what that makes of the jobs that wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.db import connection

from octolab.rows import for_storing
from scheduler.models import RecentUse
from scheduler.planning.fairness import NORMAL, Account, Claim, Standing, Uses, rank
from scheduler.process.changes import Changes
from scheduler.process.charging import module_time_s
from scheduler.process.live import LabState, LiveJob
from users.models import LabPolicy, Project

FRESH_S = 10.0
"""Shares and half-life (an admin may change them) are read again after so long."""
LOOK_S = 5.0
"""Age and deadlines are looked at this often."""
COST_SHARE = 20
"""Ranking waits until this many times its own length has passed, unless somebody comes who was not there before."""
BEGUN = NORMAL // 2
"""Weight of a job that has begun."""
_DIGITS = 3
_PARTS = tuple(part.name for part in fields(Standing))


class Shares:
    """Ranks the jobs that have not begun.

    Parameters
    ----------
    scale
        Lab seconds in a real second: deadlines are in real time.
    """

    def __init__(self, state: LabState, scale: float = 1.0) -> None:
        self.state = state
        self.scale = scale
        self.uses = Uses(7 * 24 * 3600.0)
        self.shares: dict[str, float] = {}
        self._read_s = float("-inf")
        self._ranked_s = float("-inf")
        self._cost_s = 0.0
        self._accounts: set[Account] = set()

    def load(self) -> None:
        """Read recent use, shares and half-life."""
        self.uses.amounts = {
            (str(user), str(project)): (used_s, at_s)
            for user, project, used_s, at_s in RecentUse.objects.values_list(
                "user_id", "project_id", "used_s", "at_lab_s"
            )
        }
        self._read_policy()

    def charge(self, changes: Changes) -> None:
        """Note the module time of steps that end in this turn, and have it written with them."""
        touched: set[Account] = set()
        for step in changes.steps.values():
            used_s = module_time_s(step)
            if used_s > 0:
                account = (step.job.owner_id, step.job.project_id)
                self.uses.charge(*account, used_s, changes.lab_s)
                touched.add(account)
        if touched:
            rows = [(*account, *self.uses.amounts[account]) for account in sorted(touched)]
            changes.writes.append(partial(_write, rows))

    def rank(self, now_s: float, new: Iterable[LiveJob] = ()) -> bool:
        """Give every job that has not begun its turn and its weight; return whether that was done.

        Parameters
        ----------
        new
            Jobs that have just come. If their users have others that wait already, they may go to the end of the line
            until ranking can be afforded again.
        """
        clock_s = time.monotonic()
        new = list(new)
        waiting = [job for job in self.state.jobs.values() if job.started_s is None and job.schedulable]
        if new and clock_s - self._ranked_s < COST_SHARE * self._cost_s:
            known = all((job.owner_id, job.project_id) in self._accounts for job in new)
            if known and not any(job.priority or job.deadline_at for job in new):
                last = max((job.turn for job in waiting if job not in new), default=-1)
                for number, job in enumerate(new, last + 1):
                    job.turn, job.plan_weight = number, 1
                return False
        if clock_s - self._read_s > FRESH_S:
            self._read_policy()
        promised: dict[Account, float] = {}
        for job in self.state.jobs.values():
            if job.started_s is not None:
                account = (job.owner_id, job.project_id)
                promised[account] = promised.get(account, 0.0) + left_s(job)
                # Whoever's it is, what is half done keeps places from everybody: to finish it is worth something.
                job.plan_weight = BEGUN
        wall = datetime.now(UTC)
        claims = [self._claim(job, now_s, wall) for job in waiting]
        standings = rank(claims, self.uses, self.shares, now_s, promised)
        for job in waiting:
            standing = standings[job.id]
            job.turn = standing.turn
            job.plan_weight = standing.weight
            job.weight = {name: round(getattr(standing, name), _DIGITS) for name in _PARTS}
            job.weight |= {"lab_s": round(now_s, 1), "half_life_h": round(self.uses.half_life_s / 3600, 3)}
        self._accounts = {(claim.user, claim.project) for claim in claims}
        self._ranked_s = time.monotonic()
        self._cost_s = self._ranked_s - clock_s
        return True

    def turns_before_begun(self, waiting: Iterable[LiveJob], now_s: float) -> dict[str, int]:
        """Return job → turn as if none had begun, if one that waits comes before somebody else's that has begun.

        Of begun jobs, what runs at present counts as use, and what is still to be done as work.
        """
        jobs = [job for job in self.state.jobs.values() if job.schedulable]
        begun = [job for job in jobs if job.started_s is not None]
        if not begun:
            return {}
        promised: dict[Account, float] = {}
        for job in begun:
            account = (job.owner_id, job.project_id)
            promised[account] = promised.get(account, 0.0) + running_s(job)
        wall = datetime.now(UTC)
        claims = [self._claim(job, now_s, wall) for job in jobs]
        turns = {name: its.turn for name, its in rank(claims, self.uses, self.shares, now_s, promised).items()}
        latest: dict[Account, int] = {}
        for job in begun:
            account = (job.owner_id, job.project_id)
            latest[account] = max(latest.get(account, -1), turns[job.id])
        for job in waiting:
            turn = turns.get(job.id)
            if turn is not None and any(
                turn < last for account, last in latest.items() if account != (job.owner_id, job.project_id)
            ):
                return turns
        return {}

    def orders(self) -> Iterator[list[str]]:
        """Yield orders of the jobs that have not begun, all with the same turns for each account.

        Which of an account's jobs of the same priority goes first is nobody's right, only a matter of what is best.
        """
        waiting = [job for job in self.state.jobs.values() if job.started_s is None and job.schedulable]
        waiting.sort(key=lambda job: job.turn)
        yield [job.id for job in waiting]
        work = {job.id: left_s(job) for job in waiting}
        keys: tuple[Callable[[LiveJob], float], ...] = (
            lambda job: work[job.id],
            lambda job: -work[job.id],
            lambda job: -job.submitted_s,
        )
        for key in keys:
            queues: dict[Account, list[LiveJob]] = {}
            for job in sorted(waiting, key=lambda job: (-job.priority, key(job)), reverse=True):
                queues.setdefault((job.owner_id, job.project_id), []).append(job)
            yield [queues[job.owner_id, job.project_id].pop().id for job in waiting]

    @property
    def due(self) -> bool:
        """Whether it is time to look at ages and deadlines again."""
        return time.monotonic() - self._ranked_s > max(LOOK_S, COST_SHARE * self._cost_s)

    def _claim(self, job: LiveJob, now_s: float, wall: datetime) -> Claim:
        deadline_s = None
        if job.deadline_at is not None:
            deadline_s = now_s + (job.deadline_at - wall).total_seconds() * self.scale
        return Claim(job.id, job.owner_id, job.project_id, job.submitted_s, left_s(job), job.priority, deadline_s)

    def _read_policy(self) -> None:
        self._read_s = time.monotonic()
        half_life_s = LabPolicy.current().half_life_h * 3600
        self.uses.half_life_s = half_life_s
        self.shares = {str(pk): share for pk, share in Project.objects.exclude(share=1.0).values_list("id", "share")}


def unfair(order: Iterable[LiveJob], ratio: float) -> bool:
    """Tell whether in an order of jobs one stands behind another's that weighs less by this ratio.

    Among the jobs of one user in one project only the priority counts: which is done first is the optimiser's matter.
    """
    lightest: dict[Account, int] = {}
    lowest: dict[Account, int] = {}
    for job in order:
        account = (job.owner_id, job.project_id)
        if job.priority > lowest.get(account, job.priority):
            return True
        if any(other != account and job.plan_weight > ratio * weight for other, weight in lightest.items()):
            return True
        lightest[account] = min(lightest.get(account, job.plan_weight), job.plan_weight)
        lowest[account] = min(lowest.get(account, job.priority), job.priority)
    return False


def left_s(job: LiveJob) -> float:
    """Return the module time (lab seconds) that a job is still expected to need."""
    return sum(step.duration_s for step in job.steps if not (step.standby or step.dormant or step.final))


def running_s(job: LiveJob) -> float:
    """Return the module time (lab seconds) of what a job does at present."""
    return sum(
        step.duration_s for step in job.steps if not (step.standby or step.dormant or step.final or step.waiting)
    )


def _write(rows: list[tuple[Any, ...]]) -> None:
    prepare = for_storing(RecentUse, ("user", "project", "used_s", "at_lab_s"))
    values = [tuple(convert(value) for convert, value in zip(prepare, row, strict=True)) for row in rows]
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO scheduler_recentuse (user_id, project_id, used_s, at_lab_s) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (user_id, project_id) DO UPDATE SET used_s = excluded.used_s, at_lab_s = excluded.at_lab_s",
            values,
        )
