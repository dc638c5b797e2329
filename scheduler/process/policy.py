"""What a job wants to happen when a step of a task fails: repeated how often, after which waits, and what then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scheduler.jobformat.units import to_unit
from scheduler.process.live import LiveStep, Unit

SKIP, PAUSE, ABORT = "skip", "pause", "abort"
_SEVERITY = (SKIP, PAUSE, ABORT)


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy of one task."""

    retry: int = 0
    wait_s: float = 0.0
    """Lab seconds before the first repetition; doubled each time."""
    then: str = SKIP

    def pause_s(self, failures: int) -> float:
        """Return how long (lab seconds) to wait after so many failures."""
        return self.wait_s * 2.0 ** (failures - 1)


def policies_of(spec: Any) -> dict[int, Policy]:
    """Return the policies that a job names, by the task's position in its workflow."""
    if not isinstance(spec, Mapping):
        return {}
    retries, found = int(spec.get("retries") or 0), {}
    for index, entry in enumerate(spec.get("workflow") or ()):
        wish = entry.get("on_failure") if isinstance(entry, Mapping) else None
        if wish:
            retry = wish.get("retry")
            wait = wish.get("wait") or 0.0
            found[index] = Policy(
                retries if retry is None else int(retry),
                to_unit(wait, "s") if isinstance(wait, str) else float(wait),
                wish.get("then") or SKIP,
            )
    return found


def policy_of(unit: Unit) -> Policy:
    """Return the policy of a unit: what its tasks name, or as often as the job says."""
    for step in unit.steps:
        for member in step.members:
            if member.task.policy is not None:
                return member.task.policy
    return Policy(unit.job.retries)


def severest(steps: list[LiveStep], members: set[int] | None = None) -> str:
    """Return the severest consequence that tasks of these steps name; of the members given by key, if any are."""
    wishes = {
        member.task.policy.then
        for step in steps
        for member in step.members
        if member.task.policy is not None and (members is None or member.pk in members)
    }
    return max(wishes, key=_SEVERITY.index, default=SKIP)
