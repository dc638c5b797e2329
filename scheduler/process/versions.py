"""What each published plan has changed, and what it was judged by: kept for audit."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from octolab.rows import insert_rows
from scheduler.models import PlanVersion
from scheduler.planning.objective import STRETCH_LIMIT
from scheduler.process.changes import Changes
from scheduler.process.live import LabState, LiveJob, LiveStep
from scheduler.process.problem import seconds

METHODS = ("insert", "repair", "search")
"""How plans are made, the greatest change last."""
FEW = 100
WEIGHED_EVERY_S = 60.0
"""The weights of more than a few jobs are written no more often (real seconds)."""
_COLUMNS = (
    "version", "made_at", "lab_s", "method", "steps_moved", "steps_added", "worst_job", "worst_shift_s", "objective",
    "bound_s", "gap", "weights",
)  # fmt: skip


class Versions:
    """Collects what has changed since the plan was last written."""

    def __init__(self, state: LabState) -> None:
        self.state = state
        self._method = METHODS[0]
        self._broken = 0
        self._weighed_s = float("-inf")
        self._added: set[str] = set()
        self._finishes: dict[str, float] = {}

    def made_by(self, method: str, broken: int = 0) -> None:
        """Note how the plan was changed, and how many rules it breaks."""
        self._method = max(self._method, method, key=METHODS.index)
        self._broken = broken if method != METHODS[0] else self._broken + broken

    def placed(self, step: LiveStep) -> None:
        """Note that a step gets a place, perhaps another one."""
        if step.planned_start_s is None:
            self._added.add(step.id)

    def shifted(self, job: LiveJob, before_s: float | None) -> None:
        """Note when a job was to finish until now."""
        if before_s is not None:
            self._finishes.setdefault(job.id, before_s)

    def write(self, changes: Changes, version: int, moved: Mapping[str, LiveStep], *, more: bool = False) -> None:
        """Have the version written with the turn's other changes; `more` says that the rest of it comes later."""
        jobs = self.state.jobs
        shifts = {
            name: (jobs[name].predicted_finish_s or 0.0) - before_s
            for name, before_s in self._finishes.items()
            if name in jobs and jobs[name].predicted_finish_s is not None
        }
        worst = max(shifts, key=lambda name: shifts[name], default=None)
        added = len(self._added & moved.keys())
        # A new job's place changes nothing of the others, so neither do their weights.
        weighed = {step.job.id: step.job for step in moved.values()} if self._method == METHODS[0] else jobs
        weights = {name: job.plan_weight for name, job in weighed.items() if job.started_s is None and not job.final}
        if len(weights) > FEW:
            # Thousands of weights with every version would be gigabytes a day.
            clock_s = time.monotonic()
            if clock_s - self._weighed_s < WEIGHED_EVERY_S:
                weights = {}
            else:
                self._weighed_s = clock_s
        objective, bound_s = self._judged(changes.lab_s)
        gap = round(1 - bound_s / objective[2], 6) if objective[2] else 0.0
        row: tuple[Any, ...] = (
            version, changes.at, changes.lab_s, self._method, len(moved) - added, added, worst,
            0.0 if worst is None else round(shifts[worst], 3), objective, bound_s, gap, weights,
        )  # fmt: skip
        changes.writes.append(partial(insert_rows, PlanVersion, _COLUMNS, [row]))
        if not more:
            self._method, self._broken = METHODS[0], 0
        self._added -= moved.keys()
        self._finishes.clear()

    def _judged(self, now_s: float) -> tuple[list[float], float]:
        """Return the objective of the plan, and what its weighted flow is not below if every job had the lab alone.

        It is weak, but known at once; the planner child finds a better one for a plan that stands for a while.
        """
        flow_s = least_s = end_s = 0.0
        for job in self.state.jobs.values():
            if job.predicted_finish_s is None or job.alone_s is None:
                continue
            waited_s = now_s - job.submitted_s
            shortest_s = max(job.alone_s, waited_s + (job.alone_s if job.started_s is None else 0.0))
            real_s = job.predicted_finish_s - job.submitted_s
            flow_s += job.plan_weight * guarded(real_s, job.alone_s)
            least_s += job.plan_weight * guarded(min(real_s, shortest_s), job.alone_s)
            end_s = max(end_s, job.predicted_finish_s)
        return [self._broken, 0, round(flow_s, 3), round(end_s, 3), 0], round(least_s, 3)


def guarded(flow_s: float, alone_s: float) -> float:
    """Return what a flow time counts for: what exceeds a few times the time alone counts twice."""
    return flow_s + max(0.0, flow_s - STRETCH_LIMIT * alone_s)


def write_verdict(changes: Changes, verdict: Mapping[str, Any]) -> None:
    """Have written how good the planner child has found a version to be."""
    hard, windows, flow, end, churn = verdict["objective"]
    values = {
        "objective": [hard, windows, seconds(flow), seconds(end), seconds(churn)],
        "bound_s": seconds(verdict["bound"]),
        "gap": round(verdict["gap"], 6),
    }
    found = PlanVersion.objects.filter(version=verdict["version"])
    changes.writes.append(lambda: found.update(**values))
