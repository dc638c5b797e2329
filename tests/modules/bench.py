"""Runs the steps of a job's tasks against the simulated lab, with nothing between actions and drivers but a context."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import ANY

from bluesky.run_engine import RunEngine

from modules.contract.lab import Lab, load
from modules.simulation.testing import Bench, bench
from scheduler.generator import Expansion, StepRow
from tests.jobs.lab import LABS, catalogue


class TouchedOutsideMask(AssertionError):  # noqa: N818
    """An action asked for a device that its step does not mask."""


class Context:
    """What an action sees: the same face as the host's, on a bench."""

    def __init__(self, lab: Lab, made: Bench, step: StepRow, places: Mapping[str, int]) -> None:
        self._lab, self._bench, self._step = lab, made, step
        self.parameters = step.task.parameters
        names = {target: local for local, target in lab.modules[step.module].resources.items()}
        self.places = {names.get(key, key.removeprefix(f"{step.module}.")): index for key, index in places.items()}
        self.settings = step.settings
        self.options = lab.modules[step.module].options
        self.clock = made.clock
        self.log = logging.getLogger("module")
        self.results: dict[str, Any] = {}
        self.arrays: dict[str, Any] = {}

    def devices(self, name: str) -> tuple[Any, ...]:
        ids = self._lab.device_ids(self._step.module, name)
        if missing := [device for device in ids if device not in self._step.devices]:
            raise TouchedOutsideMask(f"{self._step.task_name}.{self._step.name} does not mask {missing}")
        return tuple(self._bench.device(device) for device in ids)

    def device(self, name: str) -> Any:
        (device,) = self.devices(name)
        return device

    def record(self, **values: Any) -> None:
        self.results |= values

    def array(self, name: str, data: Any, *, unit: str = "", axes: Any = ANY) -> None:
        self.arrays[name] = (data, axes)

    def progress(self, fraction: float, text: str = "") -> None:
        assert 0 <= fraction <= 1

    def checkpoint(self) -> None:
        pass

    def sleep(self, lab_seconds: float) -> None:
        self.clock.sleep(lab_seconds)


class Runner:
    """Does the steps of an expansion one after the other, and gives places like the scheduler."""

    def __init__(self, name: str, made: Bench) -> None:
        self.lab = load(LABS / f"{name}.toml")
        self.bench = made
        self.places: dict[Any, dict[str, int]] = {}
        self.durations: list[tuple[str, float, float]] = []
        self._engine = RunEngine(context_managers=[])
        self._actions = {
            instance: importlib.import_module(section.package).ACTIONS for instance, section in self.lab.modules.items()
        }

    def run(self, step: StepRow) -> Context:
        """Do a step; return what it left behind."""
        samples = [sample.id for sample in step.task.samples]
        for sample in samples:
            held = self.places.setdefault(sample, {})
            for resource in step.takes:
                taken = {places[resource] for places in self.places.values() if resource in places}
                held[resource] = next(i for i in range(1000) if i not in taken)
        context = Context(self.lab, self.bench, step, self.places[samples[0]] if samples else {})
        began = self.bench.clock.now()
        if step.action is None:
            self.bench.clock.sleep(step.duration_s)
        else:
            outcome: Any = self._actions[step.module][step.action](context)
            if hasattr(outcome, "send"):
                self._engine(outcome)
        self.durations.append((f"{step.task_name}.{step.name}", step.duration_s, self.bench.clock.now() - began))
        for sample in samples:
            for resource in step.frees:
                self.places[sample].pop(resource, None)
        return context

    def run_all(self, expansion: Expansion) -> list[Context]:
        """Do all steps that are not dormant."""
        return [self.run(step) for step in expansion.steps if not step.dormant]


@contextmanager
def running(name: str, folder: Path, scale: float = 600.0) -> Any:
    """Run a shipped lab's simulation."""
    sections = [device.model_dump(exclude={"title", "connect"}) for device in catalogue(name).lab.devices]
    with bench(folder, scale=scale, sections=sections) as made:
        yield Runner(name, made)
