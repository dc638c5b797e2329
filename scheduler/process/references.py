"""References: parameter values that are results of earlier tasks, put in when a step is dispatched."""

from __future__ import annotations

from typing import Any

from scheduler.process.live import LiveJob, LiveMember, LiveTask


def resolve(member: LiveMember, job: LiveJob) -> tuple[dict[str, Any], str]:
    """Return the member's parameters with all references replaced, and what is missing (or empty).

    A reference is ``{"ref": "<task key>.<result>"}``: a result of the task of that key for the same sample.
    """
    missing: list[str] = []

    def value_of(value: Any) -> Any:
        match value:
            case {"ref": str(text), **rest} if not rest:
                found = _look_up(text, member, job)
                if found is None:
                    missing.append(text)
                return found
            case dict():
                return {key: value_of(item) for key, item in value.items()}
            case list():
                return [value_of(item) for item in value]
        return value

    resolved = {name: value_of(value) for name, value in member.task.parameters.items()}
    return resolved, ", ".join(missing)


def _look_up(text: str, member: LiveMember, job: LiveJob) -> Any:
    key, _, result = text.rpartition(".")
    for task in _tasks_of(member, job):
        if task.key == key and task.results is not None and result in task.results:
            return task.results[result]
    return None


def _tasks_of(member: LiveMember, job: LiveJob) -> list[LiveTask]:
    """Return tasks in which to look: those of the same sample, then those of no sample; latest first."""
    own = [other.task for step in member.sample.steps for other in step.members if other.sample is member.sample]
    common = [m.task for step in job.steps for m in step.members if m.sample.id is None]
    return [*reversed(own), *reversed(common)]
