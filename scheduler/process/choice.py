"""Which of several tables becomes the plan: the one whose plan breaks least, then the one with the least flow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from scheduler.planning.checker import Violation, hard_violations
from scheduler.planning.editable import EditableTable
from scheduler.planning.objective import Objective
from scheduler.planning.plan import Plan
from scheduler.planning.problem import Problem
from scheduler.process.cycles import is_placeholder
from scheduler.process.filling import Rank, fill, fill_by_job

MEND_S = 0.25
"""Real seconds that are spent on a plan which breaks no rule, when the present order does."""
WORTH_CHURN = 0.005
"""A plan that moves steps of the next hour must be better by this share of the weighted flow."""


class Choice:
    """Compares what is tried with the plan that keeps the present order.

    Parameters
    ----------
    problem
        What is to be planned.
    rank
        The present order.
    starts
        The plan in force (step → tick), if it is to be kept as it is: steps are moved later, but not earlier.
    """

    def __init__(self, problem: Problem, rank: Rank, starts: Mapping[str, int] | None = None) -> None:
        self.problem = problem
        self.table = fill(EditableTable(problem), rank, starts)
        self._objective = Objective(problem, "lab", Plan(*self.table.spans()))
        self.value, self._broken = self._judge(self.table)
        self.value_before = self.value

    def try_jobs(self, jobs: Iterable[str], rank: Rank, head: Callable[[str], bool]) -> bool:
        """Try to place job after job; take it if it breaks nothing and is better. See `fill_by_job`."""
        table = EditableTable(self.problem)
        return fill_by_job(table, jobs, rank, head) and self._take(
            table, lambda value: value[0] == 0 and value < self.value
        )

    def try_plan(self, starts: Mapping[str, int], rank: Rank, fair: Callable[[Mapping[str, int]], bool]) -> bool:
        """Try a plan that was searched for; take what is still left of it if that is worth the change and fair."""
        table = fill(EditableTable(self.problem), rank, starts)
        return self._take(table, lambda value: worth_it(self.value, value) and fair(table.spans()[0]))

    def mend(self, rank: Rank) -> bool:
        """If rules are broken, look for a plan that breaks fewer: others give way to the jobs whose rules these are.

        Ends after `MEND_S`, or when nothing more is gained; the planner child may still find what takes longer.
        """
        end_s = time.monotonic() + MEND_S
        job_of = {step.id: job.id for job in self.problem.jobs for step in job.steps()}
        turns: dict[str, int] = {}
        mended = False
        while self._broken and time.monotonic() < end_s:
            hurt = sorted({job_of[step] for broken in self._broken for step in broken.steps if step in job_of})
            if all(job in turns for job in hurt):
                break
            # Who is found out last goes first: those before it have had what they need already.
            turns = {job: number for number, job in enumerate(dict.fromkeys([*hurt, *turns]))}
            table = fill(EditableTable(self.problem), _behind(turns, job_of, rank))
            mended = self._take(table, lambda value: value < self.value) or mended
        return mended

    def _judge(self, table: EditableTable) -> tuple[tuple[int, ...], list[Violation]]:
        starts, ends, modes = table.spans()
        broken = hard_violations(self.problem, Plan(starts, ends, modes))
        return self._objective(starts, ends, modes, len(broken)), broken

    def _take(self, table: EditableTable, better: Callable[[tuple[int, ...]], bool]) -> bool:
        value, broken = self._judge(table)
        if not better(value):
            return False
        self.table, self.value, self._broken = table, value, broken
        return True


def _behind(turns: Mapping[str, int], job_of: Mapping[str, str], rank: Rank) -> Rank:
    """Rank the steps of some jobs by their turns, and everything else behind them as before."""

    def ranked(step: str) -> tuple[float, ...]:
        turn = len(turns) if is_placeholder(step) else turns.get(job_of[step], len(turns))
        return (turn, *rank(step))

    return ranked


def worth_it(before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """Whether a plan is better, and by enough if it moves what is about to start: people are ready for that.

    Both are the tuples of :mod:`scheduler.planning.objective`: broken rules, windows, flow, makespan, churn.
    """
    if after >= before:
        return False
    if after[:2] < before[:2] or after[-1] <= before[-1]:
        return True
    return before[2] - after[2] >= WORTH_CHURN * before[2]
