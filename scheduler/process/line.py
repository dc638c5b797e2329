"""Who has which turn: the jobs of the lab as plain rows, and the orders that are fair. Planner children use it too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from scheduler.planning.fairness import Account, Claim, Standing, Uses, rank


@dataclass(frozen=True, slots=True)
class Use:
    """What an account had used when (lab seconds)."""

    user: str
    project: str
    used_s: float
    at_s: float


@dataclass(frozen=True, slots=True)
class Entrant:
    """A job that may go on. Times and work in lab seconds."""

    id: str
    user: str
    project: str
    submitted_s: float
    left_s: float
    """Module time that it is still expected to need …"""
    running_s: float
    """… of which this is under way."""
    begun: bool
    priority: int = 0
    deadline_s: float | None = None

    @property
    def account(self) -> Account:
        """Who pays for it."""
        return self.user, self.project


@dataclass(frozen=True, slots=True)
class Line:
    """All jobs that may go on, and what decides between them."""

    now_s: float
    half_life_s: float
    entrants: tuple[Entrant, ...]
    uses: tuple[Use, ...] = ()
    shares: Mapping[str, float] | None = None
    """Project → its part; 1 if absent."""

    def joined_by(self, entrant: Entrant) -> Line:
        """Return the line with one more job."""
        return replace(self, entrants=(*self.entrants, entrant))

    @property
    def waiting(self) -> list[Entrant]:
        """Jobs that have not begun."""
        return [entrant for entrant in self.entrants if not entrant.begun]

    def standings(self) -> dict[str, Standing]:
        """Rank the jobs that have not begun. All that begun ones still have to do counts as if it were done."""
        return self._ranked(self.waiting, lambda entrant: entrant.left_s)

    def turns_before_begun(self, new: Iterable[str]) -> dict[str, int]:
        """Return job → turn as if none had begun, if one of the new ones comes before somebody else's that has begun.

        Of begun jobs, what runs at present counts as use, and what is still to be done as work.
        """
        begun = [entrant for entrant in self.entrants if entrant.begun]
        if not begun:
            return {}
        turns = {name: its.turn for name, its in self._ranked(self.entrants, lambda e: e.running_s).items()}
        latest: dict[Account, int] = {}
        for entrant in begun:
            latest[entrant.account] = max(latest.get(entrant.account, -1), turns[entrant.id])
        accounts = {entrant.id: entrant.account for entrant in self.entrants}
        for name in new:
            if name in turns and any(
                turns[name] < last for account, last in latest.items() if account != accounts[name]
            ):
                return turns
        return {}

    def orders(self, turns: Mapping[str, int]) -> Iterator[list[str]]:
        """Yield orders of the jobs that have not begun, all with the same turns for each account.

        Which of an account's jobs of the same priority goes first is nobody's right, only a matter of what is best.
        """
        waiting = sorted(self.waiting, key=lambda entrant: turns.get(entrant.id, len(turns)))
        yield [entrant.id for entrant in waiting]
        keys: tuple[Callable[[Entrant], float], ...] = (
            lambda entrant: entrant.left_s,
            lambda entrant: -entrant.left_s,
            lambda entrant: -entrant.submitted_s,
        )
        for key in keys:
            queues: dict[Account, list[Entrant]] = {}
            for entrant in sorted(waiting, key=lambda entrant: (-entrant.priority, key(entrant)), reverse=True):
                queues.setdefault(entrant.account, []).append(entrant)
            yield [queues[entrant.account].pop().id for entrant in waiting]

    def unfair(self, weights: Mapping[str, int], first: Mapping[str, tuple[float, ...]], ratio: float) -> bool:
        """Tell whether a job that has not begun stands behind another's that weighs less by this ratio.

        Among the jobs of one user in one project only the priority counts: which is done first is the optimiser's
        matter.

        Parameters
        ----------
        first
            Job → when it comes in the order that is judged. Those that are not in it are no part of it.
        """
        lightest: dict[Account, int] = {}
        lowest: dict[Account, int] = {}
        order = [entrant for entrant in self.waiting if entrant.id in first and entrant.id in weights]
        for entrant in sorted(order, key=lambda entrant: first[entrant.id]):
            account, weight = entrant.account, weights[entrant.id]
            if entrant.priority > lowest.get(account, entrant.priority):
                return True
            if any(other != account and weight > ratio * least for other, least in lightest.items()):
                return True
            lightest[account] = min(lightest.get(account, weight), weight)
            lowest[account] = min(lowest.get(account, entrant.priority), entrant.priority)
        return False

    def _ranked(self, entrants: Iterable[Entrant], promised_s: Callable[[Entrant], float]) -> dict[str, Standing]:
        promised: dict[Account, float] = {}
        for entrant in self.entrants:
            if entrant.begun:
                promised[entrant.account] = promised.get(entrant.account, 0.0) + promised_s(entrant)
        claims = [Claim(e.id, e.user, e.project, e.submitted_s, e.left_s, e.priority, e.deadline_s) for e in entrants]
        uses = Uses(self.half_life_s, {(use.user, use.project): (use.used_s, use.at_s) for use in self.uses})
        return rank(claims, uses, self.shares or {}, self.now_s, promised)
