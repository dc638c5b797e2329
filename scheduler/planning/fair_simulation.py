"""The simulation of a laboratory in which jobs that have not begun are ranked anew whenever something changes.

As in the scheduler process: what is under way keeps its order, everything else goes by rank.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from scheduler.planning.fairness import NORMAL, Account, Claim, Uses, rank
from scheduler.planning.network import alone
from scheduler.planning.plan import Plan
from scheduler.planning.problem import Job, Problem, Step
from scheduler.planning.simulate import Simulation
from scheduler.planning.table import UNPLACED, MaskingTable

MOST_HASTY = 6
Order = Literal["fcfs", "shortest", "fair"]


@dataclass(frozen=True, slots=True)
class Use:
    """Module time (seconds) of a job, when it ended."""

    user: str
    project: str
    used_s: float
    at_s: float


class FairSimulation(Simulation):
    """Runs a problem through time with one of three orders of those that wait.

    Parameters
    ----------
    order
        ``fcfs``: by arrival; ``shortest``: shortest job first; ``fair``: :func:`scheduler.planning.fairness.rank`.
    shares
        Of the projects, in proportion to each other.
    """

    def __init__(
        self,
        problem: Problem,
        order: Order = "fair",
        *,
        shares: Mapping[str, float] | None = None,
        half_life_s: float = 7 * 24 * 3600.0,
        seed: int = 0,
    ) -> None:
        super().__init__(problem, None, seed=seed)
        self.order, self.shares = order, dict(shares or {})
        self.uses = Uses(half_life_s)
        self.booked: list[Use] = []
        self.jobs = {job.id: job for job in problem.jobs}
        self._alone = alone(problem)
        self._job_of: dict[str, Job] = {}
        self._ranked_for: tuple[frozenset[str], int] | None = None

    def _settle(self, arrived: bool) -> None:
        super()._settle(arrived)
        state = (frozenset(self.left), len(self.outcome.finish))
        if state != self._ranked_for:
            self._ranked_for = state
            self._rank_anew()

    def _ends(self, now: int) -> None:
        before = set(self.outcome.ends)
        super()._ends(now)
        for name in self.outcome.ends.keys() - before:
            self._book(name, now)

    def _book(self, name: str, now: int) -> None:
        mode = self.steps[name].modes[self.outcome.modes[name]]
        if not mode.uses:
            return
        job = self._job_of[name]
        used_s = (now - self.outcome.starts[name]) * self.problem.tick
        at_s = now * self.problem.tick
        self.uses.charge(job.user, job.project, used_s, at_s)
        self.booked.append(Use(job.user, job.project, used_s, at_s))

    def _arrive(self, job: Job) -> None:
        self._job_of.update({step.id: job for step in job.steps()})
        super()._arrive(job)

    def _rank_anew(self) -> None:
        problem, plan = self.live.problem(), self.live.plan()
        begun = {self._job_of[fixed.step].id for fixed in problem.fixed}
        waiting = [job for job in problem.jobs if job.id not in begun]
        if len(waiting) < 2:
            return
        first = [job.id for job in problem.jobs if job.id in begun]
        present = {job.id: min(plan.starts.get(s.id, 1 << 60) for s in job.steps()) for job in waiting}
        turn, weight = self._turns(waiting, [job for job in problem.jobs if job.id in begun])
        best: Plan | None = None
        best_cost = 0.0
        by_turn = sorted(waiting, key=lambda job: (turn[job.id], present[job.id]))
        tries = [_place(problem, plan, set(first), order) for order in self._orders(by_turn)]
        if self.order == "fair":
            tries.append(_place_all(problem, self._everybody(problem)))
        for found in tries:
            if found is None:
                continue
            cost = sum(
                weight.get(job.id, 1.0) * (max(found.ends[step.id] for step in job.steps()) - job.release)
                for job in problem.jobs
            )
            if best is None or cost < best_cost:
                best, best_cost = found, cost
        if best is not None:
            self.live.adopt(best)

    def _everybody(self, problem: Problem) -> list[Job]:
        """Return all jobs by rank, as if none had begun."""
        tick = self.problem.tick
        claims = [
            Claim(
                *(job.id, job.user, job.project, job.release * tick),
                sum(work_s(step, tick) for step in job.steps() if step.id not in self.outcome.ends),
            )
            for job in problem.jobs
        ]
        ranked = rank(claims, self.uses, self.shares, self.live.now * tick)
        return sorted(problem.jobs, key=lambda job: ranked[job.id].turn)

    def _orders(self, by_turn: list[Job]) -> list[list[Job]]:
        """Return orders with the same turns for each account; which of its jobs goes first is the planner's matter."""
        if self.order != "fair":
            return [by_turn]
        work = {job.id: sum(work_s(step, self.problem.tick) for step in job.steps()) for job in by_turn}
        orders = [by_turn]
        for key in (lambda job: work[job.id], lambda job: -work[job.id], lambda job: -job.release):
            queues: dict[Account, list[Job]] = {}
            for job in sorted(by_turn, key=key, reverse=True):
                queues.setdefault((job.user, job.project), []).append(job)
            orders.append([queues[job.user, job.project].pop() for job in by_turn])
        return orders

    def _turns(self, waiting: list[Job], begun: list[Job]) -> tuple[dict[str, float], dict[str, float]]:
        if self.order == "fcfs":
            return {job.id: float(job.release) for job in waiting}, {}
        if self.order == "shortest":
            return {job.id: float(self._alone[job.id]) for job in waiting}, {}
        promised: dict[Account, float] = {}
        for job in begun:
            left_s = sum(work_s(step, self.problem.tick) for step in job.steps() if step.id not in self.outcome.ends)
            account = (job.user, job.project)
            promised[account] = promised.get(account, 0.0) + left_s
        tick = self.problem.tick
        claims = [
            Claim(job.id, job.user, job.project, job.release * tick, sum(work_s(step, tick) for step in job.steps()))
            for job in waiting
        ]
        ranked = rank(claims, self.uses, self.shares, self.live.now * tick, promised)
        turns = {name: float(standing.turn) for name, standing in ranked.items()}
        weights = {name: standing.weight / NORMAL for name, standing in ranked.items()}
        return turns, weights


def _place(problem: Problem, plan: Plan, begun: set[str], order: list[Job]) -> Plan | None:
    """Place what is under way in its present order, then the others; None if something has no place."""
    table = MaskingTable(problem)
    first = [unit.index for unit in table.units if unit.pinned is None and unit.job in begun]
    first.sort(key=lambda index: plan.starts.get(table.units[index].steps[0], 1 << 60))
    if table.place(first) is not None and table.place(first, elastic=True) is not None:
        return None
    for job in order:
        units = table.job_units[job.id]
        if table.place(units) is not None:
            table.place(units, elastic=True)
    if any(start == UNPLACED for start in table.start):
        return None
    return Plan(*table.spans())


def _place_all(problem: Problem, order: list[Job]) -> Plan | None:
    """Place all jobs in order, except that one whose windows would break goes first; None if that does not help."""
    hasty: list[Job] = []
    for _ in range(MOST_HASTY):
        table = MaskingTable(problem)
        refused = next(
            (
                job
                for job in [*hasty, *(job for job in order if job not in hasty)]
                if table.place(table.job_units[job.id]) is not None
            ),
            None,
        )
        if refused is None:
            return Plan(*table.spans()) if all(start != UNPLACED for start in table.start) else None
        if refused in hasty:
            return None
        hasty.append(refused)
    return None


def work_s(step: Step, tick: float) -> float:
    """Return the module time of a step in seconds; standby is none."""
    mode = step.modes[0]
    return float(mode.duration * tick) if mode.uses else 0.0
