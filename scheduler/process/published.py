"""What of a plan is told: to units their order, to steps and jobs their times, to the loop what is to be written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from scheduler.planning.editable import EditableTable
from scheduler.planning.layout import UNPLACED
from scheduler.planning.network import time_alone
from scheduler.process.cycles import cycle_of, is_placeholder, original
from scheduler.process.live import LabState, LiveJob, LiveStep
from scheduler.process.problem import seconds
from scheduler.process.versions import Versions

UNTOLD_SHARE = 0.001
"""A move by less than this share of how far ahead a step lies is not written down yet: it will move again."""
_NEVER = float("inf")


class Published:
    """Tells units, steps and jobs where they stand in a table, and remembers what has to be written."""

    def __init__(self, state: LabState, versions: Versions) -> None:
        self.state = state
        self.versions = versions
        self.moved: dict[str, LiveStep] = {}
        """Steps that were placed or moved since they were last written."""
        self.foreseen: dict[str, LiveJob] = {}
        """Jobs whose next cycles were placed or moved since they were last written."""
        self.expected: dict[str, int] = {}
        """First step of a placeholder's unit → its start in ticks."""

    def tell(self, table: EditableTable, jobs: Iterable[LiveJob]) -> None:
        """Give units their order and steps their times. The caller reorders the queues."""
        jobs = list(jobs)
        self._note_expected(table, jobs)
        for job in jobs:
            if job.alone_s is None and job.id in table.jobs:
                job.alone_s = seconds(time_alone(table.jobs[job.id]))
            begin_s, finish_s = job.started_s, 0.0
            for step in job.steps:
                index = table.unit_of.get(step.id)
                if step.dormant or index is None or table.start[index] == UNPLACED:
                    # It keeps its turn; putting away comes before anything else, because others wait for the place.
                    if step.waiting and step.unit.first is step and puts_away(step):
                        step.unit.order = (0.0, step.unit.order[-1])
                    continue
                unit = table.units[index]
                at = unit.steps.index(step.id)
                variant = unit.variants[table.chosen[index]]
                start_s = seconds(table.start[index] + variant.offsets[at])
                end_s = start_s + seconds(variant.durations[at])
                if not step.final and (start_s != step.planned_start_s or end_s != step.planned_end_s):
                    self.versions.placed(step)
                    step.planned_start_s, step.planned_end_s = start_s, end_s
                    slack_s = UNTOLD_SHARE * (start_s - seconds(table.now))
                    told_s = step.told_s or (_NEVER, _NEVER)
                    if max(abs(start_s - told_s[0]), abs(end_s - told_s[1])) >= slack_s:
                        step.told_s = (start_s, end_s)
                        self.moved[step.id] = step
                if step.waiting and step.unit.first is step:
                    step.unit.order = (start_s, step.unit.order[-1])
                begin_s = start_s if begin_s is None else min(begin_s, start_s)
                finish_s = max(finish_s, end_s)
            self.versions.shifted(job, job.predicted_finish_s)
            job.predicted_start_s = begin_s
            job.predicted_finish_s = finish_s or None

    def _note_expected(self, table: EditableTable, jobs: list[LiveJob]) -> None:
        """Remember where the placeholders of some jobs stand."""
        expecting = {job.id: job for job in jobs if job.expects}
        if len(jobs) == len(self.state.jobs):
            self.expected.clear()
        bars: dict[str, list[list[Any]]] = {name: [] for name in expecting}
        for unit in table.units if expecting else ():
            start = table.start[unit.index]
            if unit.job not in expecting or start == UNPLACED or not unit.steps or not is_placeholder(unit.steps[0]):
                continue
            self.expected[unit.steps[0]] = start
            variant = unit.variants[table.chosen[unit.index]]
            for name, offset, length in zip(unit.steps, variant.offsets, variant.durations, strict=True):
                step = self.state.steps.get(original(name))
                if step is not None and step.devices:
                    at_s = seconds(start + offset)
                    bars[unit.job].append([cycle_of(name), at_s, at_s + seconds(length), sorted(step.devices)])
        for job in expecting.values():
            found = sorted(bars[job.id])
            if found != job.expected:
                job.expected = found
                self.foreseen[job.id] = job


def puts_away(step: LiveStep) -> bool:
    """Tell whether a step is clean-up: it comes before anything else, because others wait for the place."""
    return any(member.task.cleanup for member in step.members)
