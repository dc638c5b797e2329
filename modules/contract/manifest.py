"""The manifest: what a module says about itself, as data.

A host publishes the manifest of each module instance it serves; the server stores it by hash and checks jobs
against it. Nothing in a manifest is code: durations, repeats and checks are text in the grammar of
:mod:`modules.contract.arithmetic`.

Names inside a manifest are *local*: ``arm`` is the module's word for a device. The lab file maps each local
device name to one or more device ids of the lab (see :mod:`modules.contract.lab`); resources and consumables
become ``<instance>.<name>`` unless the lab file shares them between instances.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .arithmetic import Expression, names
from .wording import NAME_PATTERN, near

SCHEMA_VERSION: Literal[1] = 1

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
"""A local name: lower case, digits, underscore."""

DeviceKey = Annotated[str, Field(pattern=r"^=?[a-z][a-z0-9_]{0,62}$")]
"""A local device name, or ``=parameter``: the device or devices that the job names in that parameter."""

DeviceMode = Literal["use", "still"]
"""*use* is exclusive; *still* means “must not move” and is shared with other *still*."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Setting(_Model):
    """A value that a device keeps, such as a hotplate's temperature.

    Steps that hold the same value share the device's setting; another value has to wait until all holders
    have released it. A hold lasts from the first step that names it to the last step of the same sample
    that names it.
    """

    unit: str
    description: str = ""
    ends_with: Name | None = None
    """The task, of no sample and without needed parameters, that switches it off. It is done as soon as nobody holds
    the setting any more: after the last step that needs it, and after whatever cuts that short."""


class Device(_Model):
    """A device that the module needs, under its local name."""

    description: str = ""
    many: bool = False
    """True if the lab file may map this name to several devices; a mask then covers them all."""
    settings: dict[Name, Setting] = {}


class Resource(_Model):
    """Places for samples: something with a capacity, such as vial slots.

    A sample stands in the place that it took last and has not given back. A sample that keeps a storage place
    from its first step on can always be put away, so that no two samples can wait for each other for ever.
    """

    description: str = ""
    capacity: int = Field(ge=1)
    storage: bool = False
    """A final place: samples may stay here after the job, until somebody collects them."""
    cleanup: Name | None = None
    """The task that takes a sample from here to storage when its job fails, is cancelled or aborted. It must also
    cope with a sample that never arrived here."""
    put_away: Name | None = None
    """The task that takes a sample from here to storage at the end of a workflow that leaves it here."""
    grid: tuple[int, ...] = ()
    """How the places are named, if not by one number: ``(6, 10)`` is ``1.1`` to ``6.10``."""

    @model_validator(mode="after")
    def _grid_has_all_places(self) -> Resource:
        if self.grid and math.prod(self.grid) != self.capacity:
            raise ValueError(f"a grid of {self.grid} has {math.prod(self.grid)} places, not {self.capacity}")
        return self

    def label(self, index: int) -> str:
        """Return the name of a place (from index 0) as it is written on the instrument: ``1.4``."""
        parts = []
        for size in reversed(self.grid[1:]):
            index, rest = divmod(index, size)
            parts.append(str(rest + 1))
        return ".".join(reversed([*parts, str(index + 1)]))


class Consumable(_Model):
    """A stock that runs down, such as vials or a reagent."""

    unit: str
    description: str = ""


class Vessel(_Model):
    """The vessel that holds a sample, with what it can take."""

    capacity_ul: float = Field(gt=0)


class Add(_Model):
    """What a step puts into the sample's vessel."""

    solution: Expression
    volume_ul: Expression
    concentration_mm: Expression | None = None
    """What the job expects of the stock, in mmol/L; a job that expects another concentration is refused."""


class Step(_Model):
    """A stretch of a task during which the set of occupied devices does not change."""

    name: Name
    action: Name | None = None
    """The action that runs it; None for a standby step."""
    devices: dict[DeviceKey, DeviceMode] = {}
    duration_s: Expression
    """Expected duration in lab seconds. A standby step lasts exactly this long."""
    repeat: Expression = "1"
    """How often the step is done, one after the other. Zero leaves it out."""
    next_within_s: Expression | None = None
    """The longest wait before the next step of the task; "0" joins both into one block; None: no limit."""
    takes: tuple[Name, ...] = ()
    """Resources of which the sample gets a place at the start."""
    frees: tuple[Name, ...] = ()
    """Resources of which the sample gives its place back at the end."""
    settings: dict[str, Expression] = {}
    """Settings held during the step: ``"stirrer.temperature_c": "temperature"``."""
    keeps: tuple[str, ...] = ()
    """Settings that the sample goes on holding to the end of this step, with the value it has, if it has one."""
    consumes: dict[str, Expression] = {}
    """Consumables used up, in their unit. A key ``"=solution"`` is the one that parameter names: the parameter's
    value in lower case is the consumable's name."""
    adds: Add | None = None

    @property
    def standby(self) -> bool:
        """Whether the step occupies no device and needs nobody."""
        return self.action is None

    def expressions(self) -> tuple[str, ...]:
        """Return every expression of the step."""
        added = (self.adds.solution, self.adds.volume_ul, self.adds.concentration_mm) if self.adds else ()
        optional = (self.next_within_s, *added)
        needed = (self.duration_s, self.repeat, *self.settings.values(), *self.consumes.values())
        return (*needed, *(expression for expression in optional if expression is not None))

    @model_validator(mode="after")
    def _standby_masks_nothing(self) -> Step:
        if self.action is None and self.devices:
            raise ValueError(f"step {self.name!r} has devices but no action; a standby step masks nothing")
        return self


class Check(_Model):
    """A condition over a task's parameters that the job is refused for."""

    that: Expression
    message: str


class Result(_Model):
    """One thing that a task measures."""

    name: Name
    dtype: Literal["number", "integer", "string", "boolean", "array"] = "number"
    unit: str = ""
    shape: tuple[int | None, ...] = ()
    description: str = ""
    title: str = ""
    """What a person who is asked for it reads; the name if left out."""
    minimum: float | None = None
    """The least that a person may answer, in ``unit``."""
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    """What a person may answer instead of free text."""
    optional: bool = False
    """Whether a person may leave it out."""

    @model_validator(mode="after")
    def _limits_fit_the_type(self) -> Result:
        if (self.minimum, self.maximum) != (None, None) and self.dtype not in ("number", "integer"):
            raise ValueError(f"result {self.name!r} is a {self.dtype}: it has no minimum and no maximum")
        if self.choices and self.dtype != "string":
            raise ValueError(f"result {self.name!r} is a {self.dtype}: only a string has choices")
        return self


class Task(_Model):
    """One operation that the module offers."""

    name: Name
    title: str
    description: str = ""
    parameters: dict[str, Any]
    """JSON Schema of an object. A number with ``"unit"`` may be written as a number or as text with a unit."""
    steps: tuple[Step, ...]
    checks: tuple[Check, ...] = ()
    results: tuple[Result, ...] = ()
    sample: Literal["none", "one", "many"] = "one"
    sample_from: Name | None = None
    """The resource in which the sample must stand before; None: anywhere, or it does not exist yet."""
    creates_sample: bool = False
    """True if the sample begins to exist with this task (a fresh vial)."""
    person: bool = False
    """True if a person does it: its steps are asked for, and the answers are its results. It needs no code."""

    @model_validator(mode="after")
    def _step_names_are_unique(self) -> Task:
        names = [step.name for step in self.steps]
        if len(set(names)) != len(names):
            raise ValueError(f"task {self.name!r} has two steps of the same name")
        return self

    @model_validator(mode="after")
    def _people_answer_what_can_be_typed(self) -> Task:
        if self.person:
            if any(result.dtype == "array" for result in self.results):
                raise ValueError(f"task {self.name!r} is a person's: nobody types an array")
            if all(step.action is None for step in self.steps):
                raise ValueError(f"task {self.name!r} is a person's, but no step has an action")
        return self


class Action(_Model):
    """How an action may be interrupted and repeated."""

    name: Name
    pause: Literal["none", "checkpoint", "immediate"] = "none"
    repeat_safe: bool = False
    """True only if doing it twice is the same as doing it once, for the hardware and for the sample."""


class Manifest(_Model):
    """Everything a module package says about itself."""

    schema_version: Literal[1] = SCHEMA_VERSION
    package: str
    version: str
    title: str
    description: str = ""
    devices: dict[Name, Device] = {}
    resources: dict[Name, Resource] = {}
    consumables: dict[Name, Consumable] = {}
    vessel: Vessel | None = None
    tasks: tuple[Task, ...]
    actions: tuple[Action, ...]

    def task(self, name: str) -> Task:
        """Return the task of that name; raise ``KeyError`` if the module does not offer it."""
        for task in self.tasks:
            if task.name == name:
                return task
        raise KeyError(name)

    def action(self, name: str) -> Action:
        """Return the action of that name; raise ``KeyError`` if there is none."""
        for action in self.actions:
            if action.name == name:
                return action
        raise KeyError(name)

    @property
    def endings(self) -> set[str]:
        """Tasks that end a setting: octolab does them, no job asks for them."""
        return {s.ends_with for device in self.devices.values() for s in device.settings.values() if s.ends_with}

    def _check_endings(self) -> None:
        for name in self.endings:
            task = next((known for known in self.tasks if known.name == name), None)
            if task is None:
                known = near(name, (task.name for task in self.tasks))
                raise ValueError(f"a setting ends with {name!r}, which is no task{known}")
            if task.sample != "none" or task.person or task.parameters.get("required"):
                raise ValueError(
                    f"task {name!r} ends a setting: it takes no sample and no parameters, and is no person's"
                )

    @property
    def coded(self) -> set[str]:
        """Actions for which the package must offer code: all that are not a person's alone."""
        by_hand = {step.action for task in self.tasks if task.person for step in task.steps}
        by_code = {step.action for task in self.tasks if not task.person for step in task.steps}
        return {action.name for action in self.actions} - (by_hand - by_code)

    def hash(self) -> str:
        """Return the SHA-256 of the canonical JSON, as ``sha256:<hex>``."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    @model_validator(mode="after")
    def _names_resolve(self) -> Manifest:
        for kind, entries in (("task", self.tasks), ("action", self.actions)):
            _refuse_twins(f"the manifest has two {kind}s", [entry.name for entry in entries])
        tasks = {task.name for task in self.tasks}
        for task in self.tasks:
            self._check_task(task)
        self._check_endings()
        for name, place in self.resources.items():
            for wanted in (place.cleanup, place.put_away):
                if wanted is not None and wanted not in tasks:
                    raise ValueError(f"resource {name!r}: task {wanted!r} does not exist{near(wanted, tasks)}")
        return self

    def _check_task(self, task: Task) -> None:
        where = f"task {task.name!r}"
        _refuse_twins(f"{where} has two results", [result.name for result in task.results])
        if task.sample_from is not None and task.sample_from not in self.resources:
            hint = near(task.sample_from, self.resources)
            raise ValueError(f"{where}: sample_from {task.sample_from!r} is not a resource{hint}")
        parameters = set(task.parameters.get("properties", {}))
        for check in task.checks:
            if unknown := names(check.that) - parameters:
                hint = near(min(unknown), parameters)
                raise ValueError(
                    f"{where}: the check {check.that!r} uses {min(unknown)!r}, which is no parameter{hint}"
                )
        for step in task.steps:
            self._check_step(f"{where}, step {step.name!r}", step, parameters)

    def _check_step(self, where: str, step: Step, parameters: set[str]) -> None:
        settings = {f"{name}.{setting}" for name, device in self.devices.items() for setting in device.settings}
        for expression in step.expressions():
            if unknown := names(expression) - parameters:
                hint = near(min(unknown), parameters)
                raise ValueError(f"{where}: {expression!r} uses {min(unknown)!r}, which is no parameter{hint}")
        for kind, wanted, declared in (
            ("action", [step.action] if step.action is not None else [], {action.name for action in self.actions}),
            ("device", step.devices, {*self.devices, *(f"={name}" for name in parameters)}),
            ("resource", [*step.takes, *step.frees], set(self.resources)),
            ("setting", [*step.settings, *step.keeps], settings),
            ("consumable", step.consumes, {*self.consumables, *(f"={name}" for name in parameters)}),
        ):
            for name in wanted:
                if name not in declared:
                    alike = {other for other in declared if other.startswith("=") == name.startswith("=")}
                    raise ValueError(f"{where}: {kind} {name!r} is not declared{near(name, alike)}")


def _refuse_twins(what: str, given: Sequence[str]) -> None:
    for name in given:
        if given.count(name) > 1:
            raise ValueError(f"{what} of the name {name!r}")
