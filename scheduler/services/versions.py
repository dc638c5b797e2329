"""Published plans: what each changed in words, and how good it was, as one user may see it."""

from __future__ import annotations

from typing import Any

from scheduler.models import Job, PlanVersion
from scheduler.services.why import say
from users.models import User

_OBJECTIVE = ("broken_rules", "window_cost", "weighted_flow_s", "end_lab_s", "churn_s")


def latest(user: User) -> dict[str, Any] | None:
    """Return the plan in force; None if there was never one."""
    return next(iter(newest(user, 1)), None)


def newest(user: User, count: int) -> list[dict[str, Any]]:
    """Return the last versions, newest first."""
    rows = list(PlanVersion.objects.order_by("-version")[:count])
    ids = {name for row in rows for name in row.weights} | {str(row.worst_job) for row in rows if row.worst_job}
    visible = Job.objects.visible_to(user).filter(pk__in=list(ids)[:2000]).values_list("id", "name")
    mine = {str(pk): name for pk, name in visible}
    return [_shown(row, mine) for row in rows]


def _shown(row: PlanVersion, mine: dict[str, str]) -> dict[str, Any]:
    return {
        "version": row.version,
        "made_at": row.made_at,
        "lab_s": row.lab_s,
        "method": row.method,
        "sentence": sentence(row, mine),
        "steps_moved": row.steps_moved,
        "steps_added": row.steps_added,
        "objective": dict(zip(_OBJECTIVE, row.objective, strict=True)) if row.objective else None,
        "bound_s": row.bound_s,
        "gap": row.gap,
        "gap_percent": None if row.gap is None else 100 * row.gap,
        "weights": {name: weight for name, weight in row.weights.items() if name in mine},
    }


def sentence(row: PlanVersion, mine: dict[str, str]) -> str:
    """Say what a version changed: ``3 steps moved, worst +4 min for job “mixing”; 2 added``."""
    parts = []
    if row.steps_moved:
        text = f"{row.steps_moved} step{'s' * (row.steps_moved > 1)} moved"
        if abs(row.worst_shift_s) >= 1:
            name = mine.get(str(row.worst_job))
            whose = f"job “{name}”" if name is not None else "another user's job"
            sign = "+" if row.worst_shift_s > 0 else "-"
            text += f", worst {sign}{say(abs(row.worst_shift_s))} for {whose}"
        parts.append(text)
    if row.steps_added:
        parts.append(f"{row.steps_added} added")
    return "; ".join(parts) or "nothing moved"
