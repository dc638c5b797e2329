"""Fair share in the live lab: who has used what of late, and what that makes of the jobs that wait."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import fields
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.db import connection

from octolab.rows import for_storing
from scheduler.models import RecentUse
from scheduler.planning.fairness import NORMAL, Account, Standing, Uses
from scheduler.process.changes import Changes
from scheduler.process.charging import module_time_s
from scheduler.process.line import Entrant, Line, Use
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
        self.line = Line(0.0, self.uses.half_life_s, ())
        """Who may go on, as it was when they were ranked last."""
        self.standings: dict[str, Standing] = {}
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
        if new and clock_s - self._ranked_s < COST_SHARE * self._cost_s:
            known = all((job.owner_id, job.project_id) in self._accounts for job in new)
            if known and not any(job.priority or job.deadline_at for job in new):
                others = (job.turn for job in self.state.jobs.values() if _waits(job) and job not in new)
                for number, job in enumerate(new, max(others, default=-1) + 1):
                    job.turn, job.plan_weight = number, 1
                return False
        if clock_s - self._read_s > FRESH_S:
            self._read_policy()
        self.look(now_s)
        self.standings = self.line.standings()
        for job in self.state.jobs.values():
            if job.started_s is not None:
                # Whoever's it is, what is half done keeps places from everybody: to finish it is worth something.
                job.plan_weight = BEGUN
            elif (standing := self.standings.get(job.id)) is not None:
                job.turn = standing.turn
                job.plan_weight = standing.weight
                job.weight = {name: round(getattr(standing, name), _DIGITS) for name in _PARTS}
                job.weight |= {"lab_s": round(now_s, 1), "half_life_h": round(self.uses.half_life_s / 3600, 3)}
        self._accounts = {entrant.account for entrant in self.line.waiting}
        self._ranked_s = time.monotonic()
        self._cost_s = self._ranked_s - clock_s
        return True

    def entrant(self, job: LiveJob, now_s: float, wall: datetime | None = None) -> Entrant:
        """Return a job as it stands in the line."""
        deadline_s = None
        if job.deadline_at is not None:
            deadline_s = now_s + (job.deadline_at - (wall or datetime.now(UTC))).total_seconds() * self.scale
        begun = job.started_s is not None
        return Entrant(
            job.id,
            job.owner_id,
            job.project_id,
            job.submitted_s,
            left_s(job),
            running_s(job) if begun else 0.0,
            begun,
            job.priority,
            deadline_s,
        )

    def look(self, now_s: float) -> None:
        """Note who may go on."""
        wall = datetime.now(UTC)
        self.line = Line(
            now_s,
            self.uses.half_life_s,
            tuple(self.entrant(job, now_s, wall) for job in self.state.jobs.values() if job.schedulable),
            tuple(Use(*account, *used) for account, used in self.uses.amounts.items()),
            self.shares,
        )

    @property
    def due(self) -> bool:
        """Whether it is time to look at ages and deadlines again."""
        return time.monotonic() - self._ranked_s > max(LOOK_S, COST_SHARE * self._cost_s)

    def _read_policy(self) -> None:
        self._read_s = time.monotonic()
        half_life_s = LabPolicy.current().half_life_h * 3600
        self.uses.half_life_s = half_life_s
        self.shares = {str(pk): share for pk, share in Project.objects.exclude(share=1.0).values_list("id", "share")}


def _waits(job: LiveJob) -> bool:
    return job.started_s is None and job.schedulable


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
