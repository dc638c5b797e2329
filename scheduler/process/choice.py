"""Which of several tables becomes the plan: the one whose plan breaks least, then the one with the least flow."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scheduler.planning.checker import hard_violations
from scheduler.planning.editable import EditableTable
from scheduler.planning.objective import Objective
from scheduler.planning.plan import Plan
from scheduler.planning.problem import Problem
from scheduler.planning.repair import repair
from scheduler.process.filling import Rank, fill, strictly

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
    """

    def __init__(self, problem: Problem, rank: Rank) -> None:
        self.problem = problem
        self.table = fill(EditableTable(problem), rank)
        self._plan = Plan(*self.table.spans())
        self._objective = Objective(problem, "lab", self._plan)
        self.value_before = self.value = self._value(self._plan)

    @property
    def breaks(self) -> int:
        """How many rules the best plan so far breaks that could have been kept for all we know."""
        return self.value[0]

    def try_strictly(self, rank: Rank) -> bool:
        """Try another order in which no rule may be broken; take it if it is better."""
        table = EditableTable(self.problem)
        if not strictly(table, rank):
            return False
        plan = Plan(*table.spans())
        value = self._value(plan)
        return value[0] == 0 and self._take(table, plan, value, worth_it=value < self.value)

    def mend(self) -> bool:
        """If rules are broken, look for a plan that breaks fewer: others give way to the jobs whose rules these are."""
        if not self.breaks:
            return False
        table, unplaced = repair(self.problem, self._plan)
        if unplaced:
            return False
        plan = Plan(*table.spans())
        value = self._value(plan)
        return self._take(table, plan, value, worth_it=value < self.value)

    def try_order(self, rank: Rank, fair: Callable[[Mapping[str, int]], bool]) -> bool:
        """Try an order that was searched for; take it if its plan is worth the change and fair."""
        table = fill(EditableTable(self.problem), rank)
        plan = Plan(*table.spans())
        value = self._value(plan)
        return self._take(table, plan, value, worth_it=worth_it(self.value, value) and fair(plan.starts))

    def _value(self, plan: Plan) -> tuple[int, ...]:
        violations = len(hard_violations(self.problem, plan))
        return self._objective(plan.starts, plan.ends, plan.modes, violations)

    def _take(self, table: EditableTable, plan: Plan, value: tuple[int, ...], *, worth_it: bool) -> bool:
        if worth_it:
            self.table, self._plan, self.value = table, plan, value
        return worth_it


def worth_it(before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """Whether a plan is better, and by enough if it moves what is about to start: people are ready for that.

    Both are the tuples of :mod:`scheduler.planning.objective`: broken rules, windows, flow, makespan, churn.
    """
    if after >= before:
        return False
    if after[:2] < before[:2] or after[-1] <= before[-1]:
        return True
    return before[2] - after[2] >= WORTH_CHURN * before[2]
