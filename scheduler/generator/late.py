"""What is decided only when a step is due: values that refer to the results of earlier tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scheduler.catalogue import Catalogue
from scheduler.jobformat.problems import Problems

from .contents import Bench
from .offers import BadValue, find


@dataclass(frozen=True, slots=True)
class Settled:
    """A step whose parameters are all known.

    Attributes
    ----------
    parameters
        In the manifest's units.
    problems
        Sentences about values that cannot be used; then the rest is of no use.
    """

    parameters: dict[str, Any]
    duration_s: float = 0.0
    consumes: dict[str, float] | None = None
    adds: dict[str, Any] | None = None
    problems: tuple[str, ...] = ()


def settle(
    catalogue: Catalogue, name: str, step: str, parameters: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]]
) -> Settled:
    """Put results in the place of references, check them like values of a new job, and recompute the step.

    Parameters
    ----------
    name
        ``module.task``.
    step
        Name of the step in the manifest.
    parameters
        As in ``Task.parameters``, with ``{"ref": "task.result"}`` for what was not known.
    results
        Task key → results, of the same sample.

    Raises
    ------
    KeyError
        If the lab has no such task or step.
    """
    offer = find(catalogue, name)
    if offer is None:
        raise KeyError(name)
    values: dict[str, Any] = {}
    wrong: list[str] = []
    for key, value in parameters.items():
        try:
            values[key] = _known(value, results)
            if isinstance(value, Mapping) and "ref" in value and key in offer.parameters:
                values[key] = offer.parameters[key].accept(values[key])
        except BadValue as error:
            wrong.append(f"{key}: {error}")
    if wrong:
        return Settled(values, problems=tuple(wrong))
    index = next((i for i, known in enumerate(offer.task.steps) if known.name == step), None)
    if index is None:
        raise KeyError(step)
    problems = Problems()
    found = offer.evaluated(values)[index]
    bench = Bench(catalogue, problems)
    consumes, adds = bench.consumption(offer, found, ()), bench.addition(offer, found, ())
    return Settled(values, found.duration_s, consumes, adds, tuple(problem.message for problem in problems.found))


def _known(value: Any, results: Mapping[str, Mapping[str, Any]]) -> Any:
    if not isinstance(value, Mapping) or "ref" not in value:
        return value
    if "job" in value:
        if "value" not in value:
            raise BadValue(f"`{value['job']}.{value['ref']}` was not measured.")
        return value["value"]
    task, _, result = str(value["ref"]).partition(".")
    found = results.get(task, {}).get(result)
    if found is None:
        raise BadValue(f"`{value['ref']}` was not measured.")
    if isinstance(found, int | float) and not isinstance(found, bool):
        return found * value.get("factor", 1.0) + value.get("offset", 0.0)
    return found
