"""OCTOPUS's published experiments A and B (Yoo et al., Nat. Commun. 15, 9669, 2024) as problems.

A: seven jobs over ten modules, all submitted at once. B: eleven jobs submitted in the course of a day,
modelled down to the single vial with the split of durations that was fitted to the published source data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from scheduler.planning.problem import Device, Hold, Job, Lag, Mode, Problem, Resource, Step, Task, Use

VIAL_TICK = 0.1
"""Seconds per tick of the vial-level model: its durations are stated to a tenth of a second."""


def experiment_a(data: Mapping[str, Any], *, parallel: bool) -> Problem:
    """Return experiment A in ticks of half an hour.

    Parameters
    ----------
    data
        The ``A`` part of the published data.
    parallel
        Whether a module is free again after the first half hour of a task (standby), or only after all of it.
    """
    jobs = []
    for number, modules in enumerate(data["jobs"]):
        tasks, lags = [], []
        for position, module in enumerate(modules):
            name = f"{number}.{position}"
            length = 2 * data["duration"][module]
            block = int(2 * data["block_parallel"]) if parallel else length
            steps = [Step(f"{name}.use", (Mode(block, (Use(module),)),), max_gap=0)]
            if length > block:
                steps.append(Step(f"{name}.wait", (Mode(length - block),)))
            tasks.append(Task(name, tuple(steps), module=module))
            if position:
                lags.append(Lag(tasks[-2].steps[-1].id, steps[0].id))
        jobs.append(Job(str(number), tuple(tasks), tuple(lags)))
    devices = tuple(Device(module) for module in data["duration"])
    return Problem(tuple(jobs), devices, tick=1800.0, name=f"octopus-A-{'parallel' if parallel else 'serial'}")


@dataclass(frozen=True, slots=True)
class Submission:
    """A row of experiment B: times in minutes after 09:00."""

    id: int
    submit: int
    modules: str
    batch: int
    cycles: int
    react: int
    additions: int

    @classmethod
    def of(cls, row: list[Any]) -> Submission:
        """Read one row of the published table."""
        return cls(*row)


def submissions(data: Mapping[str, Any]) -> list[Submission]:
    """Return the rows of experiment B."""
    return [Submission.of(row) for row in data["jobs"]]


def experiment_b(data: Mapping[str, Any]) -> Problem:
    """Return experiment B at vial level in ticks of 0.1 s, every job released at its submission.

    Identical vials are prepared, added to and unloaded in the order of their numbers. Waits between additions
    and between unload and store or transfer are free; the mix is a gap of at least 300 s before the last
    addition; the unload starts at most 600 s after the dwell; a sample's way through the spectrometer is one
    block.
    """
    jobs = tuple(_VialJob(row).job() for row in submissions(data))
    names = ("arm", "vial_storage", "linear_actuator", "pump", "pipette", "spectrometer")
    slots = Resource("vial_slots", data["modules"]["BatchSynthesis"]["vial_slots"])
    return Problem(jobs, tuple(Device(name) for name in names), (slots,), tick=VIAL_TICK, name="octopus-B-vial")


def _ticks(seconds: float) -> int:
    return round(seconds / VIAL_TICK)


def _step(name: str, seconds: float, *devices: str, block: bool = False) -> Step:
    uses = tuple(Use(device) for device in devices)
    return Step(name, (Mode(_ticks(seconds), uses),), max_gap=0 if block else None)


def _spectrum(name: str) -> list[Step]:
    """Return the uninterrupted part that every measured sample shares."""
    return [
        _step(f"{name}.uv_prepare", 43.9, "arm", "pipette", block=True),
        _step(f"{name}.uv_measure", 94.6, "arm", "pipette", "spectrometer", block=True),
        _step(f"{name}.uv_store", 22.2, "arm", "pipette", block=True),
        _step(f"{name}.return", 61.8, "arm", "vial_storage"),
    ]


class _VialJob:
    """Builds one job of experiment B."""

    def __init__(self, row: Submission) -> None:
        self.row = row
        self.tasks: list[Task] = []
        self.lags: list[Lag] = []
        self.holds: list[Hold] = []

    def job(self) -> Job:
        """Return the job."""
        row = self.row
        last: list[str] = []
        for cycle in range(row.cycles):
            names = [f"{row.id}.{cycle}.{vial}" for vial in range(row.batch)]
            if "B" in row.modules:
                ends, firsts = self.batch(names, measured="U" in row.modules)
            else:
                ends, firsts = self.spectra(names)
            for before in last:
                self.lags.append(Lag(before, firsts[0]))
            last = ends
        release = _ticks(60.0 * row.submit)
        tasks, lags, holds = tuple(self.tasks), tuple(self.lags), tuple(self.holds)
        return Job(str(row.id), tasks, lags, holds, user=str(row.id), release=release)

    def spectra(self, names: list[str]) -> tuple[list[str], list[str]]:
        """Add samples that come from storage; return their last and first steps."""
        firsts, ends = [], []
        for name in names:
            steps = [_step(f"{name}.fetch", 48.0, "arm", "vial_storage", block=True), *_spectrum(name)]
            self.tasks.append(Task(name, tuple(steps), module="UV"))
            firsts.append(steps[0].id)
            ends.append(steps[-1].id)
        self.in_order(firsts)
        return ends, firsts

    def batch(self, names: list[str], *, measured: bool) -> tuple[list[str], list[str]]:
        """Add vials that are filled, react and are stored or measured; return their last and first steps."""
        row = self.row
        firsts, ends, adds, unloads = [], [], [[] for _ in range(row.additions)], []  # type: ignore[var-annotated]
        for name in names:
            prepare = _step(f"{name}.prepare", 53.4, "arm", "vial_storage", "linear_actuator")
            steps = [prepare]
            for n in range(row.additions):
                steps.append(_step(f"{name}.add{n}", 87.5, "linear_actuator", "pump"))
                adds[n].append(steps[-1].id)
            unload = _step(f"{name}.unload", 34.0, "arm", "linear_actuator")
            if row.additions > 1:
                self.lags.append(Lag(steps[-2].id, steps[-1].id, min=_ticks(300)))
            else:
                self.lags.append(Lag(prepare.id, steps[-1].id, min=_ticks(300)))
            dwell = _ticks(60.0 * row.react)
            self.lags.append(Lag(steps[-1].id, unload.id, min=dwell, max=dwell + _ticks(600)))
            steps.append(unload)
            unloads.append(unload.id)
            firsts.append(prepare.id)
            self.holds.append(Hold("vial_slots", prepare.id, unload.id))
            self.tasks.append(Task(f"{name} batch", tuple(steps), module="BatchSynthesis"))
            if measured:
                after = [_step(f"{name}.transfer", 40.1, "arm", block=True), *_spectrum(name)]
            else:
                after = [_step(f"{name}.store", 48.0, "arm", "vial_storage")]
            self.tasks.append(Task(f"{name} after", tuple(after), module="UV" if measured else "BatchSynthesis"))
            self.lags.append(Lag(unload.id, after[0].id))
            ends.append(after[-1].id)
        for chain in (firsts, *adds, unloads):
            self.in_order(chain)
        return ends, firsts

    def in_order(self, names: list[str]) -> None:
        """Identical vials take each step first in, first out."""
        for one, two in pairwise(names):
            self.lags.append(Lag(one, two, "start", "start"))
