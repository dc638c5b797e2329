"""A laboratory to try variants of one job in: what stands in the way is reserved once, not for each variant."""

from __future__ import annotations

from dataclasses import replace

from scheduler.planning.checker import hard_violations
from scheduler.planning.editable import EditableTable
from scheduler.planning.plan import Plan
from scheduler.planning.problem import Job, Problem
from scheduler.planning.table import MaskingTable


class Trials:
    """Tries variants of a job in one laboratory.

    Parameters
    ----------
    frame
        The laboratory with what stands in the way; the job is not one of its jobs.
    job
        The job. Its variants have the same steps in the same modes; lags and deadline may differ.
    """

    def __init__(self, frame: Problem, job: Job) -> None:
        self.frame = frame
        steps = {step.id for step in job.steps()}
        self._begun = any(item.step in steps for item in frame.fixed)
        self._table = None if self._begun else EditableTable(replace(frame, jobs=(*frame.jobs, job)))

    def fits(self, job: Job) -> bool:
        """Whether there is a place for this variant."""
        return self.place(job) is not None

    def place(self, job: Job) -> MaskingTable | None:
        """Return a table with this variant at its earliest place, until the next try; None if it has none."""
        if self._table is None:
            table = MaskingTable(replace(self.frame, jobs=(*self.frame.jobs, job)))
            return table if table.place_job(job.id) is None else None
        self._table.drop_job(job.id)
        order = self._table.add_job(job)
        return self._table if self._table.place(order) is None else None

    def verified(self, job: Job) -> bool:
        """Whether this variant fits, by a plan that the independent checker accepts."""
        table = self.place(job)
        if table is None:
            return False
        return not hard_violations(replace(self.frame, jobs=(*self.frame.jobs, job)), Plan(*table.spans()))
