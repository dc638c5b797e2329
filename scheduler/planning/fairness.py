"""Fair share: who has used much of late stands behind who has used little; age, deadlines and priority lift.

Everything is counted in doublings of a job's weight. An hour of recent use (per share of the project) halves it;
three steps of priority double it. Jobs are ranked as if each were done in turn: a job's own place counts the work of
all that its project and its user have in front of it, so that the five hundredth job of a flood stands far behind the
first job of anybody else, and no flood hurts its owner's first job.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

HOUR_S = 3600.0
DOUBLING_S = HOUR_S
"""Module time (per share) that halves the weight."""
AGE_DOUBLING_S = 24 * HOUR_S
MOST_AGE = 3.0
DEADLINE_SLACK_S = 4 * HOUR_S
MOST_DEADLINE = 3.0
NORMAL = 1024
MOST = 1 << 20
Account = tuple[str, str]
"""User and project."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that waits. Times and work in seconds."""

    id: str
    user: str
    project: str
    submitted_s: float
    work_s: float
    """Module time that it is expected to need."""
    priority: int = 0
    deadline_s: float | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """Why a job stands where it does. The parts are doublings of the weight, and add up to `total`."""

    turn: int
    """Its place among the jobs that have not begun, from 0."""
    weight: int
    total: float
    priority: float
    age: float
    deadline: float
    fair: float
    """Never above 0: what recent use, and the work in front of it, take away."""
    user_s: float
    """Recent use of its user in all projects, decayed, per share."""
    project_s: float
    """Recent use of its project, decayed, per share."""
    ahead_s: float
    """Work of its project that is under way or stands in front of it, per share."""


@dataclass(slots=True)
class Uses:
    """Module time by user and project, each use counting half after every half-life."""

    half_life_s: float
    amounts: dict[Account, tuple[float, float]] = field(default_factory=dict)
    """Account → (seconds as they counted then, when)."""

    def charge(self, user: str, project: str, used_s: float, at_s: float) -> None:
        """Add a use that ended at a time."""
        now_s = max(at_s, self.amounts.get((user, project), (0.0, at_s))[1])
        self.amounts[user, project] = (self.of((user, project), now_s) + used_s, now_s)

    def of(self, account: Account, now_s: float) -> float:
        """Return an account's use as it counts now."""
        amount, at_s = self.amounts.get(account, (0.0, now_s))
        return amount * 2.0 ** (-max(0.0, now_s - at_s) / self.half_life_s)


def rank(
    claims: Iterable[Claim],
    uses: Uses,
    shares: Mapping[str, float],
    now_s: float,
    promised: Mapping[Account, float] | None = None,
) -> dict[str, Standing]:
    """Rank jobs that wait, first one first.

    Parameters
    ----------
    shares
        Project → its part in proportion to the others'; 1 if absent.
    promised
        Work that is under way, by account, in seconds: it counts as if it were done.
    """
    queues: dict[Account, list[tuple[float, Claim]]] = {}
    for claim in claims:
        queues.setdefault((claim.user, claim.project), []).append((_lift(claim, now_s), claim))
    for queue in queues.values():
        # Popped from the end: the most urgent one, and among equals the oldest.
        queue.sort(key=lambda item: (-item[0], item[1].submitted_s, item[1].id), reverse=True)
    recent = _Counts(shares)
    for account in {*uses.amounts, *queues}:
        recent.add(account, uses.of(account, now_s))
    counts = recent.copy()
    for account, work_s in (promised or {}).items():
        counts.add(account, work_s)
    least = min((counts.virtual(account) for account in queues), default=0.0)
    standings: dict[str, Standing] = {}
    weight = MOST
    while queues:
        account = _next(queues, counts)
        lift, claim = queues[account].pop()
        if not queues[account]:
            del queues[account]
        fair = -max(0.0, counts.virtual(account) - least) / DOUBLING_S
        # Never above that of the one in front, so that weight and turn say the same.
        weight = min(weight, _weight(lift + fair))
        priority, age, deadline = _parts(claim, now_s)
        standings[claim.id] = Standing(
            turn=len(standings),
            weight=weight,
            total=lift + fair,
            priority=priority,
            age=age,
            deadline=deadline,
            fair=fair,
            user_s=recent.users.get(claim.user, 0.0),
            project_s=recent.projects.get(claim.project, 0.0),
            ahead_s=counts.projects.get(claim.project, 0.0) - recent.projects.get(claim.project, 0.0),
        )
        counts.add(account, claim.work_s)
    return standings


class _Counts:
    """Use per share, of users and of projects."""

    def __init__(self, shares: Mapping[str, float]) -> None:
        self.shares = shares
        self.projects: dict[str, float] = {}
        self.users: dict[str, float] = {}
        self.accounts: dict[Account, float] = {}

    def copy(self) -> _Counts:
        other = _Counts(self.shares)
        other.projects, other.users = dict(self.projects), dict(self.users)
        other.accounts = dict(self.accounts)
        return other

    def add(self, account: Account, used_s: float) -> None:
        user, project = account
        part_s = used_s / max(1e-6, self.shares.get(project, 1.0))
        self.projects[project] = self.projects.get(project, 0.0) + part_s
        self.users[user] = self.users.get(user, 0.0) + part_s
        self.accounts[account] = self.accounts.get(account, 0.0) + part_s

    def virtual(self, account: Account) -> float:
        """Return what counts against an account: its project's use, or its user's if that one works in several."""
        user, project = account
        return max(self.projects.get(project, 0.0), self.users.get(user, 0.0))


def _next(queues: Mapping[Account, list[tuple[float, Claim]]], counts: _Counts) -> Account:
    """Return whose turn it is: first among the users of each project, then among the projects."""
    heads: dict[str, tuple[tuple[float, float, str], Account]] = {}
    for account, queue in queues.items():
        lift, claim = queue[-1]
        key = (counts.accounts.get(account, 0.0) / DOUBLING_S - lift, claim.submitted_s, claim.id)
        head = heads.get(account[1])
        if head is None or key < head[0]:
            heads[account[1]] = (key, account)

    def key_of(account: Account) -> tuple[float, float, str]:
        lift, claim = queues[account][-1]
        return (counts.virtual(account) / DOUBLING_S - lift, claim.submitted_s, claim.id)

    return min((account for _, account in heads.values()), key=key_of)


def _parts(claim: Claim, now_s: float) -> tuple[float, float, float]:
    priority = claim.priority / 3
    age = min(MOST_AGE, max(0.0, now_s - claim.submitted_s) / AGE_DOUBLING_S)
    deadline = 0.0
    if claim.deadline_s is not None:
        slack_s = max(0.0, claim.deadline_s - now_s - claim.work_s)
        deadline = MOST_DEADLINE / (1 + slack_s / DEADLINE_SLACK_S)
    return priority, age, deadline


def _lift(claim: Claim, now_s: float) -> float:
    return sum(_parts(claim, now_s))


def _weight(total: float) -> int:
    return max(1, min(MOST, round(NORMAL * 2.0 ** max(-30.0, min(30.0, total)))))
