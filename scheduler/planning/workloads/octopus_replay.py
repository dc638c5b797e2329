"""Experiment B as OCTOPUS itself ran it: its closed-packing rules on whole chunks, and the two FCFS
baselines.

The rules, as derived from the published schedule: at most one batch chunk is in set-up; a batch job may enter
when no other is attended (in set-up or unloading); a chunk is as large as the samples left and the free slots
allow; chunks of one job run one after another; the samples of concurrent UV jobs alternate on the
spectrometer; ties go by submission.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from scheduler.planning.workloads.octopus import Submission, submissions

PREPARE, UNLOAD, STORE = 53.4 / 60, 34.0 / 60, 48.0 / 60
SPECTRUM_AFTER_BATCH = (40.1 + 43.9 + 94.6 + 22.2 + 61.8) / 60
"""Minutes per vial; their sums are the published fit (x, u and e)."""

Wait = float | Callable[[], bool]
Process = Generator[Wait, None, None]


@dataclass(slots=True)
class Span:
    """Start and finish of a job in minutes after 09:00."""

    submit: float
    start: float = -1.0
    finish: float = -1.0

    @property
    def flow(self) -> float:
        """Minutes from submission to finish."""
        return self.finish - self.submit


class Replay:
    """Plays closed packing minute by minute; jobs become known at their submission."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        model = data["duration_model"]
        self.addition, self.sample, self.mix = model["a"], model["u"], model["mix"]
        self.free_slots = data["modules"]["BatchSynthesis"]["vial_slots"]
        self.free_cuvettes = data["modules"]["UV"]["cuvette_slots"]
        self.rows = submissions(data)
        self.spans = {row.id: Span(row.submit) for row in self.rows}
        self.now = 0.0
        self.attended = False
        self.measuring = False
        self.served: dict[int, int] = {row.id: 0 for row in self.rows}
        self.turns = 0

    def run(self) -> dict[int, Span]:
        """Return start and finish of every job."""
        heap: list[tuple[float, int, Process]] = []
        waiting: list[tuple[int, Callable[[], bool], Process]] = []
        for row in self.rows:
            heapq.heappush(heap, (float(row.submit), row.id, self._job(row)))
        while heap or waiting:
            moved = True
            while moved:
                moved = False
                # Who was served longest ago comes first, then who was submitted first.
                for entry in sorted(waiting, key=lambda entry: (self.served[entry[0]], entry[0])):
                    if entry[1]():
                        waiting.remove(entry)
                        self._resume(heap, waiting, entry[0], entry[2])
                        moved = True
                        break
            if heap:
                self.now, number, process = heapq.heappop(heap)
                self._resume(heap, waiting, number, process)
        return self.spans

    def _resume(self, heap: list, waiting: list, number: int, process: Process) -> None:
        try:
            wait = next(process)
        except StopIteration:
            self.spans[number].finish = self.now
            return
        if callable(wait):
            waiting.append((number, wait, process))
        else:
            heapq.heappush(heap, (self.now + wait, number, process))

    def _begin(self, row: Submission) -> None:
        span = self.spans[row.id]
        if span.start < 0:
            span.start = self.now

    def _job(self, row: Submission) -> Process:
        for _ in range(row.cycles):
            if "B" in row.modules:
                yield from self._batch(row)
            if "U" in row.modules:
                length = SPECTRUM_AFTER_BATCH if "B" in row.modules else self.sample
                yield from self._spectra(row, length)

    def _batch(self, row: Submission) -> Process:
        left = row.batch
        while left:
            yield lambda: not self.attended and self.free_slots > 0
            self._begin(row)
            size = min(left, self.free_slots)
            self.free_slots -= size
            self.attended = True
            yield size * PREPARE + size * row.additions * self.addition + self.mix
            self.attended = False
            yield float(row.react)
            self.attended = True
            yield size * (UNLOAD + (0.0 if "U" in row.modules else STORE))
            self.attended = False
            self.free_slots += size
            left -= size

    def _spectra(self, row: Submission, length: float) -> Process:
        yield lambda: self.free_cuvettes > 0
        self._begin(row)
        taken = min(row.batch, self.free_cuvettes)
        self.free_cuvettes -= taken
        for left in range(row.batch - 1, -1, -1):
            yield lambda: not self.measuring
            self.measuring = True
            self.turns += 1
            self.served[row.id] = self.turns
            yield length
            self.measuring = False
            # A cuvette is given back when the samples left are fewer than those held.
            freed = max(0, taken - left)
            taken -= freed
            self.free_cuvettes += freed


def time_alone(row: Submission, data: Mapping[str, Any]) -> float:
    """Return the minutes a job takes alone, by the published duration model."""
    model = data["duration_model"]
    total = 0.0
    if "B" in row.modules:
        total += row.batch * (model["x"] + row.additions * model["a"]) + model["mix"] + row.react
    if "U" in row.modules:
        total += row.batch * (model["u"] - (model["e"] if "B" in row.modules else 0.0))
    return total * row.cycles


def first_come(data: Mapping[str, Any], *, as_printed: bool = False) -> dict[int, Span]:
    """Return the schedule of one job at a time.

    As printed in the paper, waits count from 09:00 for every job and job 9 goes before job 8; corrected, they
    count from each job's submission and the order is that of submission.
    """
    rows = submissions(data)
    if as_printed:
        rows = sorted(rows, key=lambda row: (row.id if row.id not in (8, 9) else 17 - row.id, row.id))
    now, spans = 0.0, {}
    for row in rows:
        submit = 0.0 if as_printed else float(row.submit)
        start = max(now, submit)
        now = start + time_alone(row, data)
        spans[row.id] = Span(submit, start, now)
    return spans


def sum_flow_hours(spans: Mapping[int, Span]) -> float:
    """Return the sum of flow times in hours."""
    return sum(span.flow for span in spans.values()) / 60
