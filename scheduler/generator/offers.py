"""A module's task, prepared for many jobs: its parameters checked fast, its expressions evaluated once per value."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from modules.contract import manifest as contract
from modules.contract.arithmetic import ExpressionError, evaluate, names
from modules.contract.manifest import Manifest
from scheduler.catalogue import Catalogue
from scheduler.jobformat.problems import did_you_mean, listed
from scheduler.jobformat.units import UnitError, show, to_unit

MAX_REPEATS = 1000
_LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_FLAT = frozenset(
    {"type", "enum", "minLength", "maxLength", "pattern", "minItems", "maxItems", "items", "uniqueItems", *_LIMITS}
)
_WORDS = frozenset({"title", "description", "default", "unit", "examples"})
_TYPES: dict[str, tuple[type, ...]] = {
    "number": (int, float), "integer": (int,), "string": (str,), "boolean": (bool,), "array": (list,),
    "object": (dict,),
}  # fmt: skip
_NOUNS = {
    "number": "a number", "integer": "a whole number", "string": "a text", "boolean": "`true` or `false`",
    "array": "a list", "object": "a mapping",
}  # fmt: skip


class BadValue(ValueError):  # noqa: N818 - reads as what happened
    """A value that a parameter does not take; the text says which ones it does."""


class Parameter:
    """One parameter of a task, from its JSON Schema."""

    def __init__(self, name: str, schema: Mapping[str, Any], required: bool) -> None:
        self.name = name
        self.required = required
        self.nullable = False
        branches = schema.get("anyOf")
        if isinstance(branches, list) and {"type": "null"} in branches and len(branches) == 2:
            # what pydantic makes of `float | None`
            self.nullable = True
            other = next(branch for branch in branches if branch != {"type": "null"})
            schema = {**other, **{key: value for key, value in schema.items() if key != "anyOf"}}
        self.schema = schema
        self.kind: str = schema.get("type", "") if isinstance(schema.get("type", ""), str) else ""
        self.unit: str = schema.get("unit", "")
        self.default = schema.get("default")
        self._deep = not (schema.keys() <= _FLAT | _WORDS) or self.kind in ("object", "")

    @property
    def numeric(self) -> bool:
        """Whether it takes numbers."""
        return self.kind in ("number", "integer")

    def accept(self, value: Any) -> Any:
        """Return the value in the manifest's unit.

        Raises
        ------
        BadValue
        """
        if value is None and self.nullable:
            return None
        if self.numeric and isinstance(value, int | float | str) and not isinstance(value, bool):
            try:
                value = to_unit(value, self.unit)
            except UnitError as error:
                raise BadValue(f"{error}.") from error
            if self.kind == "integer" and value.is_integer():
                value = int(value)
        self._check(self.schema, self.kind, value)
        if self._deep:
            self._check_deeply(value)
        return value

    def _check(self, schema: Mapping[str, Any], kind: str, value: Any) -> None:
        if kind and (not isinstance(value, _TYPES.get(kind, ())) or (isinstance(value, bool) and kind != "boolean")):
            raise BadValue(f"This must be {_NOUNS.get(kind, kind)}{self._such_as()}.")
        if (choices := schema.get("enum")) is not None and value not in choices:
            raise BadValue(f"There is no `{str(value)[:60]}` here. {did_you_mean(str(value), map(str, choices))}")
        match value:
            case bool():
                pass
            case int() | float():
                self._check_range(schema, value)
            case str():
                longest = schema.get("maxLength", math.inf)
                if not schema.get("minLength", 0) <= len(value) <= longest:
                    raise BadValue(f"This text must have {schema.get('minLength', 0)} to {longest} characters.")
                if (pattern := schema.get("pattern")) is not None and not re.search(pattern, value):
                    raise BadValue(f"This text must match `{pattern}`.")
            case list():
                if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", math.inf):
                    raise BadValue(
                        f"This list must have {schema.get('minItems', 0)} to {schema.get('maxItems', 'any')} items."
                    )
                if isinstance(items := schema.get("items"), Mapping) and isinstance(items.get("type"), str):
                    for item in value:
                        self._check(items, items["type"], item)

    def _check_range(self, schema: Mapping[str, Any], value: float) -> None:
        low = schema.get("minimum", schema.get("exclusiveMinimum", -math.inf))
        high = schema.get("maximum", schema.get("exclusiveMaximum", math.inf))
        above = value > low or (value == low and "exclusiveMinimum" not in schema)
        below = value < high or (value == high and "exclusiveMaximum" not in schema)
        if above and below:
            return
        least, most = show(low, self.unit), show(high, self.unit)
        if math.isinf(high):
            limits = f"{'more than' if 'exclusiveMinimum' in schema else 'at least'} {least}"
        elif math.isinf(low):
            limits = f"{'less than' if 'exclusiveMaximum' in schema else 'at most'} {most}"
        else:
            limits = f"{least} to {most}"
        raise BadValue(f"{show(value, self.unit)} is too {'much' if above else 'little'}: {limits} is possible.")

    def _check_deeply(self, value: Any) -> None:
        try:
            error = next(self._validator.iter_errors(value), None)
        except SchemaError:
            return
        if error is not None:
            raise BadValue(f"{error.message}.")

    @cached_property
    def _validator(self) -> Draft202012Validator:
        return Draft202012Validator(dict(self.schema))

    def _such_as(self) -> str:
        if self.numeric and self.unit not in ("", "1"):
            from scheduler.jobformat.units import example

            return f" with a unit, such as `{example(self.unit)}`"
        if (choices := self.schema.get("enum")) is not None:
            return f": {listed(map(str, choices))}"
        return ""

    def stand_in(self, *keys: str) -> Any:
        """Return what stands in for a value that is not known yet: the first of these that the schema has."""
        return next((self.schema[key] for key in keys if self.schema.get(key) is not None), 0 if self.numeric else "")


@dataclass(frozen=True, slots=True)
class StepValues:
    """A step's expressions, evaluated. Names are local."""

    duration_s: float
    repeat: int
    next_within_s: float | None
    settings: dict[str, float]
    consumes: dict[str, float]
    """Local consumable → amount."""
    solution: str | None
    volume_ul: float
    concentration_mm: float | None


def evaluate_step(step: contract.Step, values: Mapping[str, Any]) -> StepValues:
    """Evaluate a step's expressions.

    Raises
    ------
    modules.contract.arithmetic.ExpressionError
        If one cannot be computed, or gives nonsense such as a negative duration.
    """
    duration_s = _number(step.duration_s, values)
    repeat = _number(step.repeat, values)
    within_s = None if step.next_within_s is None else _number(step.next_within_s, values)
    if repeat > MAX_REPEATS:
        raise ExpressionError(f"step `{step.name}` would be done {repeat:.0f} times; {MAX_REPEATS} is the most")
    consumes: dict[str, float] = {}
    for key, expression in step.consumes.items():
        local = str(values[key[1:]]).lower() if key.startswith("=") else key
        consumes[local] = consumes.get(local, 0.0) + _number(expression, values)
    solution, volume_ul, concentration_mm = None, 0.0, None
    if step.adds is not None:
        solution = str(evaluate(step.adds.solution, values))
        volume_ul = _number(step.adds.volume_ul, values)
        if step.adds.concentration_mm is not None:
            expected = evaluate(step.adds.concentration_mm, values)
            concentration_mm = None if expected is None else float(expected)
    settings = {key: _any_number(expression, values) for key, expression in step.settings.items()}
    return StepValues(duration_s, int(repeat), within_s, settings, consumes, solution, volume_ul, concentration_mm)


def _any_number(expression: str, values: Mapping[str, Any]) -> float:
    value = evaluate(expression, values)
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ExpressionError(f"`{expression}` gives {value!r}, which is no number")
    return float(value)


def _number(expression: str, values: Mapping[str, Any]) -> float:
    value = _any_number(expression, values)
    if value < 0:
        raise ExpressionError(f"`{expression}` gives {value:g}; it must not be negative")
    return value


def _early_names(step: contract.Step) -> frozenset[str]:
    expressions = [step.repeat, *step.settings.values(), *([step.adds.solution] if step.adds else [])]
    named = (key[1:] for key in (*step.devices, *step.consumes) if key.startswith("="))
    return frozenset(named).union(*map(names, expressions))


class Offer:
    """One task of one module instance."""

    def __init__(self, catalogue: Catalogue, instance: str, task: contract.Task) -> None:
        self.catalogue = catalogue
        self.instance = instance
        self.task = task
        self.manifest: Manifest = catalogue.manifests[instance]
        required = set(task.parameters.get("required", ()))
        self.parameters = {
            name: Parameter(name, schema, name in required)
            for name, schema in task.parameters.get("properties", {}).items()
        }
        self.defaults = {name: p.default for name, p in self.parameters.items() if not p.required}
        lab = catalogue.lab
        self.sample_from = None if task.sample_from is None else lab.resource_id(instance, task.sample_from)
        self.takes = {step.name: tuple(lab.resource_id(instance, r) for r in step.takes) for step in task.steps}
        self.frees = {step.name: tuple(lab.resource_id(instance, r) for r in step.frees) for step in task.steps}
        self.early = frozenset().union(*map(_early_names, task.steps))
        """Parameters that decide which steps there are and what they need, so they cannot be results."""
        self._evaluated: dict[str, tuple[StepValues, ...]] = {}

    @property
    def name(self) -> str:
        """``module.task``."""
        return f"{self.instance}.{self.task.name}"

    @property
    def scope(self) -> str:
        """``none``, ``one`` or ``many``: of how many samples one of these tasks is."""
        return self.task.sample

    def device_ids(self, step: contract.Step, values: Mapping[str, Any]) -> dict[str, str]:
        """Return the step's mask: device id → mode."""
        mask: dict[str, str] = {}
        for key, mode in step.devices.items():
            chosen = values[key[1:]] if key.startswith("=") else key
            for local in chosen if isinstance(chosen, list) else [chosen]:
                for device in self.catalogue.lab.device_ids(self.instance, local):
                    if mask.get(device) != "use":
                        mask[device] = mode
        return mask

    def evaluated(self, values: Mapping[str, Any]) -> tuple[StepValues, ...]:
        """Return what the steps' expressions give; remembered, because samples mostly share it."""
        key = repr(sorted(values.items()))
        found = self._evaluated.get(key)
        if found is None:
            found = tuple(evaluate_step(step, values) for step in self.task.steps)
            if len(self._evaluated) > 1000:
                self._evaluated.clear()
            self._evaluated[key] = found
        return found


def find(catalogue: Catalogue, name: str) -> Offer | None:
    """Return the offer behind ``module.task``, None if there is none."""
    instance, _, task = name.partition(".")
    key = (instance, task)
    offer: Offer | None = catalogue.compiled.get(key)
    if offer is None and instance in catalogue.manifests:
        try:
            offer = catalogue.compiled[key] = Offer(catalogue, instance, catalogue.manifests[instance].task(task))
        except KeyError:
            return None
    return offer
