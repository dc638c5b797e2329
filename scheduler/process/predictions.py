"""Predictions in the live lab: durations learnt from what steps took, and ranges of when jobs start and finish.

Everything here happens in memory, some tens of microseconds for a step. What was told is written with the turn's other
changes, so that it can be held against what happened; past scores correct the next ranges.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from zlib import crc32

from octolab.rows import insert_rows
from scheduler.models import Prediction, Step, StepMember
from scheduler.planning.calibration import KEPT, Calibration, Scales, halves, score, unsure
from scheduler.planning.durations import DurationModel, Range
from scheduler.planning.forecast import Forecast, Item
from scheduler.process.changes import Changes
from scheduler.process.grants import void
from scheduler.process.live import LabState, LiveJob, LiveStep, Unit
from scheduler.states import JOB_FINAL, JobState, StepState

HISTORY = 4000
"""Past steps that are read when the process starts."""
CONSIDERABLE = 0.05
"""A prediction is told anew if the last range lost its middle, and that moved by this share of what lies ahead …"""
CONSIDERABLE_S = 1.0
"""… and by so many lab seconds …"""
AGAIN_S = 2.0
"""… and not oftener than once in so many real seconds."""
LATENCY_SHARE = 0.1
REACTION_S = 0.1
"""Real seconds."""
SHORTEST_S = 1e-3
SLICE_S = 0.01
"""Real seconds of one turn for predicting everything anew."""
BUNCH = 20
_COLUMNS = (
    "job", "made_at", "made_lab_s", "first", "start_low_lab_s", "start_lab_s", "start_high_lab_s", "finish_low_lab_s",
    "finish_lab_s", "finish_high_lab_s", "scales", "void",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Told:
    """What was predicted of a job, before and after the correction from past scores (lab seconds)."""

    made_s: float
    start: Range
    finish: Range
    raw_start: Range
    raw_finish: Range
    start_scales: Scales
    finish_scales: Scales
    at_s: float = 0.0
    """Monotonic time."""


class Predictions:
    """Learns durations, predicts jobs, and scores both."""

    def __init__(self, state: LabState, scale: float = 1.0) -> None:
        self.state = state
        self.least_s = REACTION_S * scale
        """No range is narrower to either side (lab seconds): it takes that long until anybody notices anything."""
        self.model = DurationModel()
        self.starts, self.finishes = Calibration(), Calibration()
        self.latency_s = 0.0
        """How long (lab seconds) it takes from an order to the start of its action, of late."""
        self._forecast = Forecast(self.model)
        self._fresh: Iterator[bool] | None = None
        self._came: list[LiveStep] = []
        """Steps that came while everything is predicted anew."""
        self._new: list[tuple[LiveJob, Told, bool]] = []
        self._open: dict[str, tuple[Told | None, Told | None]] = {}
        """What jobs were told by an earlier process: first and last."""

    # --- durations

    def study(self, job: LiveJob) -> None:
        """Find out how long the steps of a job are to be planned for."""
        for step in job.steps:
            if step.standby:
                continue
            step.kind = step.kind or kind_of(step)
            self._plan_length(step)

    def study_again(self) -> None:
        """Do so again for what waits, where much has been learnt since."""
        for step in self.state.steps.values():
            if step.waiting and step.kind:
                self._plan_length(step)

    def _plan_length(self, step: LiveStep) -> None:
        learnt_s = self.model.expected(step.kind, step.duration_s)
        planned_s = step.duration_s if step.learnt_s is None else step.learnt_s
        # What hardly differs is not worth a move.
        if abs(learnt_s - planned_s) > CONSIDERABLE * planned_s:
            step.learnt_s = learnt_s

    def ordered(self, unit: Unit, now_s: float) -> None:
        """Note how long the steps of an order are expected to take."""
        unit.granted_s = now_s
        for step in unit.steps:
            if step.duration_s > 0:
                found = self.model.range(step.kind or kind_of(step), step.duration_s)
                step.expected_low_s, step.expected_s, step.expected_high_s = found.low, found.median, found.high

    def begun(self, unit: Unit, at_s: float) -> None:
        """Note how long an order was under way."""
        if unit.granted_s:
            late_s = max(0.0, at_s - unit.granted_s)
            self.latency_s += LATENCY_SHARE * (min(late_s, 100 * self.latency_s + 10.0) - self.latency_s)

    def ended(self, step: LiveStep) -> None:
        """Learn from a step that was done; from one that somebody paused nothing can be learnt."""
        if step.expected_s is not None and step.started_s is not None and step.ended_s is not None:
            self.model.observe(
                step.kind or kind_of(step), step.duration_s, max(SHORTEST_S, step.ended_s - step.started_s)
            )

    # --- jobs

    def refresh(self, now_s: float) -> None:
        """Predict every job anew: the plan has changed. Of a large plan this is only begun; see `go_on`."""
        self._fresh = self._anew(now_s)
        self.go_on()

    @property
    def under_way(self) -> bool:
        """Whether there is more to predict."""
        return self._fresh is not None

    def go_on(self) -> None:
        """Predict some more, for a few milliseconds."""
        end_s = time.monotonic() + SLICE_S
        while self._fresh is not None:
            if next(self._fresh, None) is None:
                self._fresh = None
            elif time.monotonic() >= end_s:
                return

    def _anew(self, now_s: float) -> Iterator[bool]:
        """Predict every job, some steps at a time; what is told meanwhile still follows from the last time."""
        forecast, self._came = Forecast(self.model, now_s), []
        steps = [step for job in self.state.jobs.values() for step in job.steps if _planned(step)]
        steps.sort(key=_place)
        while steps:
            for number, step in enumerate(steps, 1):
                forecast.add(self._item(step))
                if number % BUNCH == 0:
                    yield True
            steps, self._came = [step for step in self._came if _planned(step)], []
        self._forecast = forecast
        for number, job in enumerate(list(self.state.jobs.values()), 1):
            self._tell(job, now_s)
            if number % BUNCH == 0:
                yield True

    def include(self, job: LiveJob, now_s: float) -> None:
        """Predict a job that has just been put into the plan; nothing else has changed."""
        self._forecast.now = now_s
        steps = sorted((step for step in job.steps if _planned(step)), key=_place)
        for step in steps:
            self._forecast.add(self._item(step))
        self._came.extend(steps)
        self._tell(job, now_s)

    def disturbed(self, job: LiveJob, changes: Changes) -> None:
        """A person has held or paused a job: what was told of it says nothing about how well we predict."""
        if job.told is not None:
            job.told = None
            changes.writes.append(lambda: Prediction.objects.filter(job_id=job.id).update(void=True))
        for step in job.steps:
            if step.started_s is not None and not step.final:
                step.expected_s = step.expected_low_s = step.expected_high_s = None
                changes.touch(step)

    def finished(self, job: LiveJob) -> None:
        """Score what was told of a job when it came."""
        told = job.told
        if told is None or job.state != JobState.COMPLETED or job.started_s is None or job.finished_s is None:
            return
        self._score(told, job.started_s, job.finished_s)

    def _score(self, told: Told, started_s: float, finished_s: float) -> None:
        self.starts.observe(score(told.raw_start, started_s), told.start_scales)
        self.finishes.observe(score(told.raw_finish, finished_s), told.finish_scales)

    def write(self, changes: Changes) -> None:
        """Have what was told written with the turn's other changes."""
        new, self._new = self._new, []
        # The job may have gone meanwhile.
        new = [row for row in new if row[0].id in self.state.jobs]
        if not new:
            return
        rows = [_row(job, told, first, changes.at) for job, told, first in new]
        changes.writes.append(partial(insert_rows, Prediction, _COLUMNS, rows))
        changes.touch(*(job for job, _, _ in new))

    def _tell(self, job: LiveJob, now_s: float) -> None:
        spans = self._forecast.span(step.id for step in job.steps)
        if spans is None or job.predicted_finish_s is None or job.predicted_start_s is None:
            return
        raw_start, raw_finish = (unsure(span, now_s, len(self.state.jobs), self.least_s) for span in spans)
        start, finish = self.starts.apply(raw_start, now_s), self.finishes.apply(raw_finish, now_s)
        if job.started_s is not None:
            start = Range(job.started_s, job.started_s, job.started_s)
        # The plan's own times are told too, and must not look impossible.
        job.start_range = min(start.low, job.predicted_start_s), max(start.high, job.predicted_start_s)
        job.finish_range = min(finish.low, job.predicted_finish_s), max(finish.high, job.predicted_finish_s)
        if not job.schedulable:
            return
        told = Told(
            now_s,
            Range(job.start_range[0], start.median, job.start_range[1]),
            Range(job.finish_range[0], finish.median, job.finish_range[1]),
            raw_start,
            raw_finish,
            self.starts.scales,
            self.finishes.scales,
            time.monotonic(),
        )
        last = job.told_last
        if last is None or _far(last, told):
            self._new.append((job, told, last is None))
            job.told_last = told
            if last is None:
                job.told = told

    def _item(self, step: LiveStep) -> Item:
        own = {other.id for other in step.unit.steps}
        after = [
            (need.step, need.min_s + (0.0 if step.standby else self.latency_s), True, False)
            for need in step.needs
            if (before := self.state.steps.get(need.step)) is not None and not void(need, before, step.unit)
        ]
        members = step.unit.steps
        if (at := members.index(step)) and members[at - 1].id in own:
            after.append((members[at - 1].id, 0.0, True, False))
        stuck = step.waiting and not step.job.schedulable
        began, ended = step.started_s, step.ended_s if step.final else None
        if began is None and not step.waiting and not step.final and step is step.unit.first:
            # Of a block the others follow it.
            began = step.unit.granted_s or step.planned_start_s
        return Item(
            step.id,
            step.planned_start_s or 0.0,
            step.planned_end_s or 0.0,
            step.duration_s,
            step.kind,
            [(device, mode == "still") for device, mode in step.devices.items()],
            after,
            began,
            ended,
            step.planned_start_s if stuck else None,
        )

    # --- at start

    def load(self) -> None:
        """Read what past steps took, how past predictions fared, and what open jobs were told."""
        rows: list[Any] = list(
            Step.objects.filter(state=StepState.COMPLETED, expected_s__isnull=False, started_lab_s__isnull=False)
            .order_by("-id")
            .values_list("id", "module", "task_name", "name", "duration_s", "started_lab_s", "ended_lab_s")[:HISTORY]
        )
        parameters = _parameters([row[0] for row in rows])
        for pk, module, task, name, duration_s, began_s, ended_s in reversed(rows):
            kind = _kind(module, task, name, parameters.get(pk))
            self.model.observe(kind, duration_s, max(SHORTEST_S, (ended_s or began_s) - began_s))
        done = Prediction.objects.filter(job__state=JobState.COMPLETED, first=True, void=False).order_by("-id")
        for row in reversed(done.select_related("job").defer("job__spec")[:KEPT]):
            told = _told(row)
            if row.job.started_lab_s is not None and row.job.finished_lab_s is not None:
                self._score(told, row.job.started_lab_s, row.job.finished_lab_s)
        self._open = {}
        for row in Prediction.objects.exclude(job__state__in=JOB_FINAL).order_by("id"):
            first, _ = self._open.get(str(row.job_id), (None, None))
            told = _told(row)
            self._open[str(row.job_id)] = (None if row.void else first or told, told)

    def recall(self, jobs: Iterable[LiveJob]) -> None:
        """Give jobs that an earlier process had predicted what they were told."""
        for job in jobs:
            job.told, job.told_last = self._open.pop(job.id, (None, None))


def kind_of(step: LiveStep) -> str:
    """Return what a step's length is learnt from: module, task and step, and below that its parameters."""
    parameters = step.members[0].task.parameters if step.members else None
    return _kind(step.module, step.task_name, step.name, parameters)


def _kind(module: str, task: str, name: str, parameters: Any) -> str:
    kind = f"{module}/{task}/{name}"
    if not parameters:
        return kind
    return f"{kind}|{crc32(json.dumps(parameters, sort_keys=True).encode()):x}"


def _parameters(steps: list[Any]) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for start in range(0, len(steps), 500):
        rows = StepMember.objects.filter(step_id__in=steps[start : start + 500]).order_by("-id")
        found.update(rows.values_list("step_id", "task__parameters"))
    return found


def _planned(step: LiveStep) -> bool:
    return (
        not step.dormant
        and step.planned_start_s is not None
        and step.planned_end_s is not None
        and step.state not in (StepState.SKIPPED, StepState.CANCELLED)
    )


def _place(step: LiveStep) -> tuple[float, float, str]:
    return step.planned_start_s or 0.0, step.planned_end_s or 0.0, step.id


def _far(last: Told, told: Told) -> bool:
    moved_s = abs(told.finish.median - last.finish.median)
    ahead_s = max(0.0, last.finish.median - told.made_s)
    lost = not last.finish.holds(told.finish.median)
    return lost and moved_s > max(CONSIDERABLE_S, CONSIDERABLE * ahead_s) and told.at_s - last.at_s > AGAIN_S


def _row(job: LiveJob, told: Told, first: bool, at: datetime) -> tuple[Any, ...]:
    ranges = (told.start.low, told.start.median, told.start.high, told.finish.low, told.finish.median, told.finish.high)
    scales = [*told.start_scales, *told.finish_scales, *halves(told.raw_start), *halves(told.raw_finish)]
    return job.id, at, told.made_s, first, *ranges, [round(value, 4) for value in scales], False


def _around(median_s: float, below_s: float, above_s: float) -> Range:
    return Range(median_s - below_s, median_s, median_s + above_s)


def _told(row: Prediction) -> Told:
    start_scales, finish_scales, start_halves, finish_halves = zip(row.scales[::2], row.scales[1::2], strict=True)
    return Told(
        row.made_lab_s,
        Range(row.start_low_lab_s, row.start_lab_s, row.start_high_lab_s),
        Range(row.finish_low_lab_s, row.finish_lab_s, row.finish_high_lab_s),
        _around(row.start_lab_s, *start_halves),
        _around(row.finish_lab_s, *finish_halves),
        start_scales,
        finish_scales,
    )
