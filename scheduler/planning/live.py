"""The live table: what a scheduler process holds in memory between two plans.

Everything here takes milliseconds. New jobs are inserted into the gaps at once; steps that start, run late or
end are pinned where they really are; a deviation that does not fit is repaired stably; and a better plan from
the improver is adopted as a whole. The problem as it stands now, for a child process, is `LiveTable.problem`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from scheduler.planning.plan import Diff, Plan, diff
from scheduler.planning.problem import (
    Device,
    Fixed,
    FixedState,
    Job,
    Lag,
    Problem,
    ProblemError,
    Resource,
    Step,
    Stock,
)
from scheduler.planning.repair import broken, keep, repair, wishes
from scheduler.planning.table import UNPLACED, Placement, say_refusal


class LiveTable:
    """Live jobs of a laboratory and their places.

    Parameters
    ----------
    problem
        Devices, resources, stocks, jobs and what is fixed, at `Problem.now`.
    plan
        The plan in force; jobs that it does not cover are inserted.
    """

    def __init__(self, problem: Problem, plan: Plan | None = None) -> None:
        self._frame = dataclasses.replace(problem, jobs=(), fixed=(), lags=())
        self._jobs = {job.id: job for job in problem.jobs}
        self._lags = problem.lags
        self._fixed = {fixed.step: fixed for fixed in problem.fixed}
        self._job_of = {step.id: job.id for job in problem.jobs for step in job.steps()}
        self.version = plan.version if plan is not None else 0
        self.dirty = False
        self._build(plan or Plan({}, {}, {}))

    def _build(self, plan: Plan) -> None:
        self.table, self.unplaced = repair(self.problem(), plan)
        self._wish: dict[str, Plan] = {}
        self.dirty = False

    # --- reading

    @property
    def now(self) -> int:
        """The present in ticks."""
        return self._frame.now

    def problem(self) -> Problem:
        """Return the problem as it stands now, e.g. for the improver."""
        return dataclasses.replace(
            self._frame, jobs=tuple(self._jobs.values()), lags=self._lags, fixed=tuple(self._fixed.values())
        )

    def plan(self) -> Plan:
        """Return all places as a plan, without objective and bound."""
        starts, ends, modes = self.table.spans()
        for wish in self._wish.values():
            # Not yet repaired: these steps still stand in the plan in force.
            for name, start in wish.starts.items():
                if name not in starts and name in self._job_of:
                    starts[name], ends[name], modes[name] = start, wish.ends[name], wish.modes[name]
        weights = {job.id: job.weight for job in self._jobs.values()}
        return Plan(
            starts,
            ends,
            modes,
            method="live",
            version=self.version,
            weights=weights,
            unplaced=dict(self.unplaced),
        )

    def place_of(self, job: str) -> Placement:
        """Return first start and last end of a job in ticks."""
        if job in self.unplaced:
            return Placement(0, 0, False, 0, self.unplaced[job])
        starts, ends = [], []
        for step in self._jobs[job].steps():
            span = self._span(step.id)
            if span is not None:
                starts.append(span[0])
                ends.append(span[1])
        if not starts:
            return Placement(self.now, self.now, False, 0, "nothing of it is planned")
        return Placement(min(starts), max(ends), True, broken(self.table, self.table.job_units[job]))

    def job_of(self, step: str) -> str:
        """Return the id of a step's job."""
        return self._job_of[step]

    def _span(self, step: str) -> tuple[int, int] | None:
        table = self.table
        unit = table.units[table.unit_of[step]]
        start = table.start[unit.index]
        if start == UNPLACED:
            return None
        variant, i = unit.variants[table.chosen[unit.index]], unit.steps.index(step)
        return start + variant.offsets[i], start + variant.offsets[i] + variant.durations[i]

    def next_start(self) -> int | None:
        """Return the first planned start in ticks of a step that is not fixed; `None` if all are."""
        table = self.table
        starts = [
            start
            for unit, start in zip(table.units, table.start, strict=True)
            if start != UNPLACED and unit.pinned is None and unit.steps
        ]
        return min(starts, default=None)

    def due(self, now: int) -> list[tuple[int, str]]:
        """Return (planned start, step), sorted, of what should have started by `now` and is not fixed."""
        table = self.table
        found: list[tuple[int, str]] = []
        for unit, start in zip(table.units, table.start, strict=True):
            if start != UNPLACED and start <= now and unit.pinned is None:
                offsets = unit.variants[table.chosen[unit.index]].offsets
                rows = zip(offsets, unit.steps, strict=True)
                found.extend((start + offset, name) for offset, name in rows if start + offset <= now)
        return sorted(found)

    def mode_of(self, step: str) -> int:
        """Return the index of a step's planned mode."""
        unit = self.table.units[self.table.unit_of[step]]
        return unit.variants[self.table.chosen[unit.index]].modes[unit.steps.index(step)]

    # --- jobs

    def insert(self, job: Job, *, elastic: bool = False) -> Placement:
        """Insert a new job into the gaps; nothing else moves.

        Parameters
        ----------
        job
            Its ids are new.
        elastic
            Accept broken maximum lags and deadlines instead of refusing.

        Returns
        -------
        Placement
            If refused, with the reason, and the job is not kept.

        Raises
        ------
        ProblemError
            If the job names something that does not exist, or its id is taken.
        """
        if job.id in self._jobs or any(step.id in self._job_of for step in job.steps()):
            raise ProblemError([f"job {job.id}, or a step of it, is already there"])
        if self._needs_other_calendars(job):
            self._jobs[job.id] = job
            self._job_of.update({step.id: job.id for step in job.steps()})
            self._build(self.plan())
            place = self.place_of(job.id)
            if not place.placed:
                self.forget(job.id)
            return place
        try:
            order = self.table.add_job(job)
        except KeyError as error:
            self.table.drop_job(job.id)
            raise ProblemError([f"job {job.id} names {error}, which does not exist"]) from error
        refusal = self.table.place(order)
        if refusal is not None and elastic:
            refusal = self.table.place(order, elastic=True)
        if refusal is not None:
            reason = say_refusal(self.table, refusal)
            self.table.drop_job(job.id)
            return Placement(0, 0, False, 0, reason)
        self._jobs[job.id] = job
        for step in job.steps():
            self._job_of[step.id] = job.id
        self.version += 1
        start, finish = self.table.job_span(job.id)
        return Placement(start, finish, True, broken(self.table, order) if elastic else 0)

    def _needs_other_calendars(self, job: Job) -> bool:
        """Whether the job keeps a device still that so far nobody has."""
        return any(
            use.still and not self.table.shares(use.device)
            for step in job.steps()
            for mode in step.modes
            for use in mode.uses
        )

    def forget(self, job: str) -> None:
        """Remove a job with all its steps, e.g. finished or cancelled."""
        self.table.drop_job(job)
        for step in self._jobs.pop(job).steps():
            self._fixed.pop(step.id, None)
            self._job_of.pop(step.id, None)
        self.unplaced.pop(job, None)
        self._wish.pop(job, None)
        self.version += 1

    def remove(self, steps: Iterable[str]) -> None:
        """Remove steps; rules that name them go too, and a job without steps is forgotten."""
        gone = set(steps)
        for name in {self._job_of[step] for step in gone}:
            job = self._jobs[name]
            if all(step.id in gone for step in job.steps()):
                self.forget(name)
                continue
            for step in job.steps():
                if step.id in gone:
                    self._fixed.pop(step.id, None)
                    self._job_of.pop(step.id, None)
            self._recompile(_without(job, gone))
        self._lags = tuple(lag for lag in self._lags if lag.first not in gone and lag.second not in gone)

    def _recompile(self, job: Job) -> bool:
        """Make units of a job anew and seat them where they were; return whether all could be."""
        old = self._wish.pop(job.id, None) or self.plan_of(job)
        self._jobs[job.id] = job
        self.table.drop_job(job.id)
        pinned = [self._fixed[step.id] for step in job.steps() if step.id in self._fixed]
        self.table.set_fixed(pinned, [step.id for step in job.steps()])
        order = self.table.add_job(job)
        for lag in self._lags:
            if self._job_of.get(lag.first) == job.id or self._job_of.get(lag.second) == job.id:
                self.dirty = True
        clash = self.table.pin(pinned)
        fits = keep(self.table, order, wishes(self.table, old, order)) and not clash
        self.version += 1
        if not fits:
            self.dirty = True
            if any(self.table.start[index] == UNPLACED for index in order):
                self._wish[job.id] = old
        return fits

    def plan_of(self, job: Job) -> Plan:
        """Return the places of one job."""
        starts, ends, modes = {}, {}, {}
        for step in job.steps():
            span = self._span(step.id) if step.id in self.table.unit_of else None
            if span is not None:
                unit = self.table.units[self.table.unit_of[step.id]]
                variant = unit.variants[self.table.chosen[unit.index]]
                starts[step.id], ends[step.id] = span
                modes[step.id] = variant.modes[unit.steps.index(step.id)]
        return Plan(starts, ends, modes)

    # --- what happens

    def pin(
        self, step: str, start: int, end: int, state: FixedState = "running", mode: int | None = None
    ) -> bool:
        """Record where a step really stands: it started, is late, or ended.

        Parameters
        ----------
        step
            Its id.
        start, end
            Ticks; for a running step `end` is the present estimate.
        state
            ``running``, ``frozen`` or ``completed``.
        mode
            Index of its mode; by default the planned one.

        Returns
        -------
        bool
            Whether everything else still fits. If not, call `repair` before the plan is used again.
        """
        job = self._jobs[self._job_of[step]]
        if mode is None:
            old = self._fixed.get(step)
            mode = old.mode if old is not None else self.mode_of(step)
        fixed = Fixed(step, start, end, mode, state)
        if self._fixed.get(step) == fixed:
            return not self.dirty
        self._fixed[step] = fixed
        return self._recompile(job)

    def unpin(self, step: str) -> None:
        """Make a step free again, e.g. after a failure that is repeated."""
        if self._fixed.pop(step, None) is not None:
            self._recompile(self._jobs[self._job_of[step]])
            self.dirty = True

    def extend(self, step: str, end: int) -> bool:
        """Give a running step a new estimated end; return whether everything else still fits."""
        old = self._fixed[step]
        return self.pin(step, old.start, end, old.state, old.mode)

    def complete(self, step: str, end: int) -> bool:
        """Record that a running step ended; return whether everything else still fits."""
        return self.pin(step, self._fixed[step].start, end, "completed", self._fixed[step].mode)

    def advance(self, now: int) -> bool:
        """Move the present to `now`; return whether nothing that has not started would start in the past."""
        self._frame = dataclasses.replace(self._frame, now=now)
        self.table.advance(now)
        late = any(
            start != UNPLACED and start < now and unit.pinned is None and unit.steps
            for unit, start in zip(self.table.units, self.table.start, strict=True)
        )
        self.dirty = self.dirty or late
        return not late

    def change(
        self,
        *,
        devices: tuple[Device, ...] | None = None,
        resources: tuple[Resource, ...] | None = None,
        stocks: tuple[Stock, ...] | None = None,
    ) -> Diff:
        """Change what the laboratory has (maintenance, a lost or added device, a delivery) and repair."""
        frame = self._frame
        self._frame = dataclasses.replace(
            frame,
            devices=frame.devices if devices is None else devices,
            resources=frame.resources if resources is None else resources,
            stocks=frame.stocks if stocks is None else stocks,
        )
        return self.repair()

    def repair(self) -> Diff:
        """Bring all places in line with what is fixed, moving as little as possible; return what moved."""
        old = self.plan()
        self._build(old)
        self.version += 1
        return diff(self.problem(), old, self.plan())

    def adopt(self, plan: Plan) -> Diff:
        """Take over a plan from the improver; steps that started meanwhile stay where they are."""
        old = self.plan()
        self._build(plan)
        self.version = max(self.version + 1, plan.version)
        return diff(self.problem(), old, self.plan())


def _without(job: Job, gone: set[str]) -> Job:
    """Return a job without some steps and the rules that name them; chains close up over the gap."""

    def kept(rule: object, names: tuple[str, ...]) -> bool:
        return not any(getattr(rule, name) in gone for name in names)

    tasks = []
    for task in job.tasks:
        steps: list[Step] = []
        for step in task.steps:
            if step.id not in gone:
                steps.append(step)
            elif steps:
                steps[-1] = dataclasses.replace(steps[-1], max_gap=None, gap_cost=None)
        if steps:
            tasks.append(dataclasses.replace(task, steps=tuple(steps)))
    pair = ("first", "second")
    lags: tuple[Lag, ...] = tuple(lag for lag in job.lags if kept(lag, pair))
    ends = ("first", "last")
    return dataclasses.replace(
        job,
        tasks=tuple(tasks),
        lags=lags,
        holds=tuple(hold for hold in job.holds if kept(hold, ends)),
        settings=tuple(setting for setting in job.settings if kept(setting, ends)),
    )
