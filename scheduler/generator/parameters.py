"""A task's parameters: defaults, references, units and ranges."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modules.contract.arithmetic import ExpressionError, evaluate, names
from scheduler.jobformat.problems import Path, Problems, did_you_mean
from scheduler.jobformat.units import UnitError, conversion

from .offers import BadValue, Offer, Parameter
from .workflow import Node, Workflow

_ELSEWHERE = re.compile(r"\$([A-Za-z][A-Za-z0-9_-]{0,63})\.([A-Za-z_][A-Za-z0-9_-]*)\.([A-Za-z_][A-Za-z0-9_]*)")
"""``$job.task.result``: a result of another job of the campaign."""
_REFERENCE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_-]*)(?:\.([A-Za-z_][A-Za-z0-9_]*))?")


@dataclass(slots=True)
class Resolved:
    """A task's parameters for one sample.

    Attributes
    ----------
    values
        In the manifest's units; ``{"ref": "task.result"}`` stands for what is not known yet.
    expected
        The same with the default, or the least possible number, for what is not known yet: plans use it.
    greatest
        The same with the greatest possible number: reservations use it.
    """

    values: dict[str, Any]
    expected: dict[str, Any]
    greatest: dict[str, Any]


class Resolver:
    """Resolves the parameters of a workflow's tasks, and notes what is wrong with them."""

    def __init__(
        self, workflow: Workflow, job: Mapping[str, Any], problems: Problems, campaign: str = "", key: str = ""
    ) -> None:
        self._workflow = workflow
        self._job = job
        self._problems = problems
        self._known: dict[tuple[int, str], Resolved | None] = {}
        self.campaign, self.key = campaign, key
        self.waits_for: set[str] = set()
        """Keys of other jobs of the campaign to whose results anything refers."""

    def resolve(self, node: Node, sample: Mapping[str, Any]) -> Resolved | None:
        """Return a task's parameters for a sample with these parameters; None if they cannot be used.

        Samples that give the same values share the answer.
        """
        offer = node.offer
        if offer is None:
            return None
        scope = {**self._job, **sample}
        written = {name: self._substituted(value, scope) for name, value in node.entry.with_.items()}
        key = (node.index, repr(written))
        if key not in self._known:
            self._known[key] = self._resolve(node, offer, written, scope)
        return self._known[key]

    def _substituted(self, value: Any, scope: Mapping[str, Any]) -> Any:
        """Put in what the scope knows; leave the rest as it is written."""
        value = _followed(value, scope)
        if not isinstance(value, list):
            return value
        # an item that stands for another list stays as it is: lists of lists of lists would grow for ever
        items = ((item, _followed(item, scope)) for item in value)
        return [item if isinstance(found, list) else found for item, found in items]

    def _resolve(
        self, node: Node, offer: Offer, written: Mapping[str, Any], scope: Mapping[str, Any]
    ) -> Resolved | None:
        before = self._problems.noted
        values, expected, greatest = dict(offer.defaults), dict(offer.defaults), dict(offer.defaults)
        for name, value in written.items():
            path: Path = (*node.path, "with", name)
            parameter = offer.parameters.get(name)
            if parameter is None:
                hint = did_you_mean(name, offer.parameters, "The parameter")
                self._problems.add(path, f"`{offer.name}` has no parameter `{name}`. {hint}")
                continue
            reference, elsewhere = _later(value), _elsewhere(value)
            if reference is not None or elsewhere is not None:
                values[name] = (
                    self._reference(node, parameter, reference, path)
                    if reference is not None
                    else self._foreign(elsewhere or ("", ""), path)
                )
                expected[name] = parameter.stand_in("default", "minimum", "exclusiveMinimum")
                greatest[name] = parameter.stand_in("maximum", "exclusiveMaximum", "default", "minimum")
                if name in offer.early:
                    self._problems.add(path, f"`{name}` decides what the task needs; it must be known from the start.")
                continue
            noted = self._problems.noted
            literal = self._literal(value, scope, path)
            if self._problems.noted > noted:
                continue
            try:
                values[name] = expected[name] = greatest[name] = parameter.accept(literal)
            except BadValue as error:
                self._problems.add(path, self._with_source(node, name, value, str(error)))
        for name, parameter in offer.parameters.items():
            if parameter.required and name not in written:
                described = parameter.schema.get("description", "")
                self._problems.add(
                    (*node.path, "with"), f"`{offer.name}` needs the parameter `{name}`. {described}".rstrip()
                )
        if self._problems.noted > before:
            return None
        self._cross_check(node, offer, values)
        return Resolved(values, expected, greatest) if self._problems.noted == before else None

    def _literal(self, value: Any, scope: Mapping[str, Any], path: Path) -> Any:
        """Return a plain value; note a reference that leads nowhere."""
        if isinstance(value, list):
            return [self._literal(item, scope, (*path, index)) for index, item in enumerate(value)]
        if not isinstance(value, str) or value[:1] != "$":
            return value
        if value[:2] == "$$":
            return value[1:]
        match = _REFERENCE.fullmatch(value)
        if match is None:
            self._problems.add(path, f"`{value[:40]}` is no reference. Write `$name`, or `$$` for a text with `$`.")
        elif match[2] is not None:
            self._problems.add(path, "A result of an earlier task cannot stand in a list.")
        elif match[1] in scope:
            wrong = "is a list, which cannot stand here" if isinstance(scope[match[1]], list) else "refers to itself"
            self._problems.add(path, f"The parameter `{match[1]}` {wrong}.")
        else:
            hint = did_you_mean(match[1], scope, "It") if scope else "The job and its samples have no parameters."
            self._problems.add(path, f"There is no parameter `{match[1]}`. {hint}")
        return value

    def _with_source(self, node: Node, name: str, value: Any, message: str) -> str:
        written = node.entry.with_[name]
        if isinstance(written, str) and written[:1] == "$" and written != value:
            return f"{written} is `{value}` here. {message}"
        return message

    def _reference(self, node: Node, parameter: Parameter, reference: tuple[str, str], path: Path) -> dict[str, Any]:
        key, result_name = reference
        ref: dict[str, Any] = {"ref": f"{key}.{result_name}"}
        source = self._workflow.by_key.get(key)
        if source is None:
            others = [other.key for other in self._workflow.nodes if other is not node]
            self._problems.add(path, f"There is no task `{key}` in this workflow. {did_you_mean(key, others)}")
            return ref
        if source.offer is None:
            return ref
        results = {result.name: result for result in source.offer.task.results}
        if result_name not in results:
            hint = did_you_mean(result_name, results, "The result")
            self._problems.add(path, f"`{source.offer.name}` has no result `{result_name}`. {hint}")
            return ref
        result = results[result_name]
        if not node.ancestors >> source.index & 1:
            self._problems.add(path, f"`{key}` is not certainly done before this task; add it to `needs`.")
        elif source.scope != "none" and node.scope != "one":
            self._problems.add(path, f"`{key}` has a result for each sample, but this task has one value for all.")
        if result.dtype == "array":
            self._problems.add(path, f"`{result_name}` is an array; only single values can be referred to.")
        elif (result.dtype in ("number", "integer")) != parameter.numeric:
            self._problems.add(
                path, f"`{result_name}` is a {result.dtype}, but `{parameter.name}` is a {parameter.kind}."
            )
        elif parameter.numeric:
            try:
                factor, offset = conversion(result.unit, parameter.unit)
            except UnitError:
                measured = f"is in `{result.unit}`" if result.unit else "has no unit"
                self._problems.add(
                    path,
                    f"`{result_name}` {measured}, but `{parameter.name}` takes `{parameter.unit or 'plain numbers'}`.",
                )
            else:
                if (factor, offset) != (1.0, 0.0):
                    ref |= {"factor": factor, "offset": offset}
        return ref

    def _foreign(self, elsewhere: tuple[str, str], path: Path) -> dict[str, Any]:
        """Return a reference to a job of the campaign, which need not have been submitted yet."""
        job, result = elsewhere
        if not self.campaign:
            self._problems.add(path, f"`${job}.{result}` is a result of another job; say in `campaign` of which one.")
        elif job == self.key:
            self._problems.add(path, "A job cannot wait for itself; `$task.result` refers to its own tasks.")
        self.waits_for.add(job)
        return {"ref": result, "job": job}

    def _cross_check(self, node: Node, offer: Offer, values: Mapping[str, Any]) -> None:
        later = {name for name, value in values.items() if isinstance(value, dict) and "ref" in value}
        for check in offer.task.checks:
            if names(check.that) & later:
                continue
            try:
                if not evaluate(check.that, values):
                    self._problems.add((*node.path, "with"), f"{check.message[0].upper()}{check.message[1:]}.")
            except ExpressionError as error:
                self._problems.add((*node.path, "with"), f"{error}.")


def _followed(value: Any, scope: Mapping[str, Any]) -> Any:
    """Return what a reference leads to, as far as the scope knows it."""
    seen: set[str] = set()
    while isinstance(value, str) and value[:1] == "$" and (match := _REFERENCE.fullmatch(value)):
        name = match[1]
        if match[2] is not None or name not in scope or name in seen:
            break
        seen.add(name)
        value = scope[name]
    return value


def _elsewhere(value: Any) -> tuple[str, str] | None:
    """Return job, and task with result, that a text refers to; None if it is no such reference."""
    match = _ELSEWHERE.fullmatch(value) if isinstance(value, str) else None
    return None if match is None else (match[1], f"{match[2]}.{match[3]}")


def _later(value: Any) -> tuple[str, str] | None:
    """Return task and result that a text refers to, None if it is no such reference."""
    if not isinstance(value, str) or value[:2] == "$$":
        return None
    match = _REFERENCE.fullmatch(value)
    return (match[1], match[2]) if match is not None and match[2] is not None else None
