"""Improve a plan with CP-SAT: the whole near horizon at once, then large neighbourhoods.

The plan that comes in is the incumbent outside the solver: an answer is taken only if it is better by the
ordered objective and the checker finds nothing against it, so the result is never worse. Components of the
objective are minimised one after the other, each bounded by what was reached before.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from scheduler.planning.checker import hard_violations
from scheduler.planning.cpsat import Answer, Effort, ScheduleModel
from scheduler.planning.limits import PLACEMENTS_PER_UNIT, Clock, Limits
from scheduler.planning.neighbourhoods import Neighbourhoods
from scheduler.planning.objective import Objective, ObjectiveName
from scheduler.planning.plan import Plan
from scheduler.planning.problem import Problem

WHOLE_STEPS = 450
"""Up to this many steps to decide, the whole problem is solved at once first (measured: beyond about 20 jobs a
single model does not find improvements any more)."""
WHOLE_SHARE = 0.5
"""Share of the effort for the whole model when neighbourhoods can follow."""
SUB_WALL_S = 1.0
SUB_DETERMINISTIC = 0.35
"""Effort for one neighbourhood."""
SLACK = 0.25
"""How far beyond the incumbent's makespan a plan with less flow may reach."""


@dataclass(slots=True)
class Improver:
    """One search, from one plan."""

    problem: Problem
    best: Plan
    name: ObjectiveName = "lab"
    limits: Limits = field(default_factory=Limits)
    seed: int = 0
    on_better: Callable[[Plan], None] | None = None
    clock: Clock = field(init=False)
    objective: Objective = field(init=False)
    bound: int | None = None
    proven: bool = False
    _work: float = 0.0
    _movable: list[str] = field(init=False)
    _decided: int = field(init=False)

    def __post_init__(self) -> None:
        self.clock = Clock(self.limits)
        self.objective = Objective(self.problem, self.name, self.best)
        fixed = {item.step for item in self.problem.fixed}
        self._movable = [job.id for job in self.problem.jobs if any(s.id not in fixed for s in job.steps())]
        self._decided = sum(step.id not in fixed for step in self.problem.steps())

    def run(self) -> Plan:
        """Search until the limits are reached or the plan is proven best; return the best plan."""
        self.best = replace(self.best, objective=self._value(self.best), objective_name=self.name)
        if self._decided:
            whole = self._decided <= WHOLE_STEPS
            several = len(self._movable) > 2 and self.name != "makespan"
            if whole:
                self._whole(WHOLE_SHARE if several else 1.0)
            if several and not self.proven:
                self._neighbourhoods()
        return self._finished()

    def _finished(self) -> Plan:
        value = self.best.objective[self.objective.soft_index]
        gap = None if self.bound is None or value <= 0 else max(0.0, (value - self.bound) / value)
        status = "optimal" if self.proven else "feasible"
        return replace(self.best, bound=self.bound, gap=gap, status=status, method="optimal", seed=self.seed)

    # --- the whole problem

    def _whole(self, share: float) -> None:
        """Minimise windows, then time, then the makespan, each within what was reached before."""
        windows_proven = self.best.objective[1] == 0
        if not windows_proven:
            model = ScheduleModel(self.problem, self._horizon(), kept=self.best)
            answer = model.minimise(model.windows(), self._effort(share / 3))
            windows_proven = answer.status == "optimal"
            self._offer(answer)
        if self._over():
            return
        model = ScheduleModel(self.problem, self._horizon(), kept=self.best)
        model.cp.add(model.windows() <= self.best.objective[1])
        answer = model.minimise(self._time(model), self._effort(share))
        self._offer(answer)
        self.bound = answer.bound if answer.bound is not None else self.bound
        # The horizon cuts off nothing for the makespan; for flow it may cut off plans that end much later.
        self.proven = windows_proven and answer.status == "optimal" and answer.value == self.best.objective[2]
        if self.proven and self.name != "makespan" and not self._over():
            model = ScheduleModel(self.problem, self._horizon(), kept=self.best)
            model.cp.add(model.windows() <= self.best.objective[1])
            model.cp.add(self._time(model) <= self.best.objective[2])
            self._offer(model.minimise(model.makespan(), self._effort(share)))

    def _time(self, model: ScheduleModel):  # type: ignore[no-untyped-def]  # noqa: ANN202
        return model.makespan() if self.name == "makespan" else model.flow(self.name)

    # --- large neighbourhoods

    def _neighbourhoods(self) -> None:
        """Free some jobs, solve, keep what is no worse; as many at a time as there are workers."""
        rng = random.Random(self.seed)
        draws = Neighbourhoods(self.problem, self._movable, rng)
        current, last_gain, round_number = self.best, self.clock.spent(), 0
        steps = {job.id: [step.id for step in job.steps()] for job in self.problem.jobs}
        with ThreadPoolExecutor(max_workers=self.limits.workers) as pool:
            while not self._over():
                round_number += 1
                drawn = [draws.draw(current) for _ in range(self.limits.workers)]
                tasks = [
                    pool.submit(
                        self._solve_part,
                        current,
                        frozenset(step for job in jobs for step in steps[job]),
                        self.seed + 7919 * round_number + number,
                    )
                    for number, jobs in enumerate(drawn)
                ]
                answers = [task.result() for task in tasks]
                self._work += sum(answer.work for answer in answers)
                for answer in answers:
                    draws.learn(answer.status == "optimal")
                for plan in self._plans(answers):
                    if plan.objective[:4] <= current.objective[:4] and not hard_violations(
                        self.problem, plan
                    ):
                        current = plan
                        if plan.objective < self.best.objective:
                            self._take(plan)
                            last_gain = self.clock.spent()
                        break
                if self._tired(last_gain):
                    return

    def _solve_part(self, plan: Plan, free: frozenset[str], seed: int) -> Answer:
        model = ScheduleModel(self.problem, self._horizon(), free, plan)
        if plan.objective[1] > 0:
            value = model.windows()
        else:
            model.cp.add(model.windows() <= plan.objective[1])
            value = self._time(model)
        deterministic = SUB_DETERMINISTIC if self.limits.deterministic is not None else None
        wall = None if deterministic else SUB_WALL_S
        return model.minimise(value, Effort(wall, deterministic, 1, seed, self.limits.stop))

    def _tired(self, last_gain: float) -> bool:
        patience = self.limits.patience
        return patience is not None and self.clock.elapsed() > 0 and self._seconds(last_gain) > patience

    def _seconds(self, since: float) -> float:
        spent = self.clock.spent()
        return self.clock.elapsed() * (spent - since) / spent if spent > 0 else 0.0

    # --- taking answers

    def _plans(self, answers: list[Answer]) -> Iterator[Plan]:
        plans = [plan for answer in answers if (plan := self._plan(answer)) is not None]
        yield from sorted(plans, key=lambda plan: plan.objective)

    def _plan(self, answer: Answer) -> Plan | None:
        if answer.starts is None or answer.ends is None or answer.modes is None:
            return None
        plan = replace(self.best, starts=answer.starts, ends=answer.ends, modes=answer.modes)
        return replace(plan, objective=self._value(plan))

    def _offer(self, answer: Answer) -> None:
        self._work += answer.work
        plan = self._plan(answer)
        if (
            plan is not None
            and plan.objective < self.best.objective
            and not hard_violations(self.problem, plan)
        ):
            self._take(plan)

    def _take(self, plan: Plan) -> None:
        self.best = plan
        if self.on_better is not None:
            self.on_better(self._finished())

    def _value(self, plan: Plan) -> tuple[int, ...]:
        return self.objective(plan.starts, plan.ends, plan.modes)

    # --- effort

    def _horizon(self) -> int:
        makespan = self.best.makespan
        if self.name == "makespan":
            return makespan
        return makespan + max(1, int(SLACK * (makespan - self.problem.now)))

    def _over(self) -> bool:
        self.clock.work = int(self._work * PLACEMENTS_PER_UNIT)
        return self.clock.over()

    def _effort(self, share: float) -> Effort:
        """Return the effort for a solve that may use this share of what is left."""
        limits, left = self.limits, max(0.0, 1 - self.clock.spent()) * share
        walls = []
        if limits.wall is not None:
            walls.append(limits.wall * left)
        if limits.cpu is not None:
            walls.append(limits.cpu * left / max(1, min(limits.workers, os.cpu_count() or 1)))
        deterministic = None if limits.deterministic is None else limits.deterministic * left
        return Effort(min(walls, default=None), deterministic, limits.workers, self.seed, limits.stop)
