"""References: parameter values that are results of earlier tasks, put in when a step is dispatched.

With the value come what depends on it: how long the step takes and what it uses up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scheduler.catalogue import Catalogue
from scheduler.generator.late import settle
from scheduler.process.changes import Changes
from scheduler.process.live import LiveMember, LiveSample, LiveStep, Unit


class References:
    """Replaces references. ``catalogue`` is renewed whenever a manifest changes."""

    def __init__(self) -> None:
        self.catalogue: Catalogue | None = None

    def resolve(self, unit: Unit, member: LiveMember, changes: Changes) -> str:
        """Replace the references of one member's task and record what comes of it; return what is wrong, or nothing."""
        task = member.task
        if not has_reference(task.parameters):
            return ""
        if self.catalogue is None:
            return "no module has said yet what its tasks mean"
        results = results_for(member.sample)
        parameters = task.parameters
        for step in unit.steps:
            try:
                found = settle(self.catalogue, f"{step.module}.{step.task_name}", step.name, parameters, results)
            except KeyError as error:
                return f"the module {step.module} has no {error} any more"
            if found.problems:
                return " ".join(found.problems)
            task.origins = {**origins_of(parameters, found.parameters, member), **task.origins}
            task.parameters = found.parameters
            _renew(step, found.duration_s, found.consumes or {}, found.adds, changes)
        changes.touch(task)
        return ""


def origins_of(before: Mapping[str, Any], after: Mapping[str, Any], member: LiveMember) -> dict[str, Any]:
    """Return where the values come from that were references to tasks of the same job."""
    origins: dict[str, Any] = {}
    for name, value in before.items():
        if not isinstance(value, Mapping) or "ref" not in value or "job" in value:
            continue
        key = str(value["ref"]).partition(".")[0]
        for step in member.sample.job.steps:
            for other in step.members:
                if other.task.key == key and other.ok and (other.sample is member.sample or other.sample.id is None):
                    origins[name] = {
                        "ref": value["ref"], "job": member.sample.job.id, "task": other.task.id,
                        "run_uid": other.run_uid, "value": after.get(name),
                    }  # fmt: skip
    return origins


def has_reference(value: Any) -> bool:
    """Tell whether a value, or one inside it, is still a reference."""
    match value:
        case Mapping():
            return "ref" in value or any(has_reference(item) for item in value.values())
        case list():
            return any(has_reference(item) for item in value)
    return False


def results_for(sample: LiveSample) -> dict[str, Mapping[str, Any]]:
    """Return task key → results that a task of this sample may refer to: of the same sample, or of none."""
    found: dict[str, Mapping[str, Any]] = {}
    for step in sample.job.steps:
        for member in step.members:
            if member.task.results and (member.sample is sample or member.sample.id is None):
                found[member.task.key] = results_of(member)
    return found


def results_of(member: LiveMember) -> Mapping[str, Any]:
    """Return a task's results for one of its samples: where there are several, they stand under the sample's id."""
    results = member.task.results or {}
    own = results.get(member.sample.id) if member.sample.id is not None else None
    return own if isinstance(own, Mapping) else results


def add_results(member: LiveMember, several: bool, results: Mapping[str, Any]) -> None:
    """Record results, under the sample's id if the task is done on several."""
    own = {member.sample.id: dict(results)} if several and member.sample.id is not None else dict(results)
    member.task.results = {**(member.task.results or {}), **own}


def _renew(
    step: LiveStep, duration_s: float, consumes: dict[str, float], adds: dict[str, Any] | None, changes: Changes
) -> None:
    for stock in sorted({*step.consumes, *consumes}):
        changes.unreserve(stock, step.consumes.get(stock, 0.0) - consumes.get(stock, 0.0))
    step.duration_s, step.consumes, step.adds = duration_s, consumes, adds
    changes.renewed[step.id] = step
