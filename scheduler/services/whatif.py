"""What if? A job, a lost or a further device, a maintenance window, planned against the live queue and not kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scheduler.models import Device, Job
from scheduler.services.jobs import CheckedJob
from scheduler.services.placement import ask
from scheduler.services.previews import question
from scheduler.services.why import say
from users.models import User

WAIT_S = 6.0
"""How long (real seconds) an answer is waited for."""


class ImpossibleQuestionError(ValueError):
    """The question speaks of something that is not there; `path` says where."""

    def __init__(self, path: str, message: str) -> None:
        self.path = path
        super().__init__(message)


def prepare(
    checked: CheckedJob | None,
    lose: Sequence[str],
    gain: Sequence[Mapping[str, str]],
    maintenance: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the question as it goes to the scheduler.

    Raises
    ------
    ImpossibleQuestionError
        If it speaks of a device that is not there.
    """
    known = set(Device.objects.values_list("id", flat=True))
    named = [(f"/lose/{n}", name) for n, name in enumerate(lose)]
    named += [(f"/gain/{n}/like", row["like"]) for n, row in enumerate(gain)]
    named += [(f"/maintenance/{n}/device", row["device"]) for n, row in enumerate(maintenance)]
    for path, name in named:
        if name not in known:
            raise ImpossibleQuestionError(path, f"There is no device `{name}`.")
    for number, row in enumerate(gain):
        if row["id"] in known:
            raise ImpossibleQuestionError(f"/gain/{number}/id", f"There is a device `{row['id']}` already.")
    asked = {"lose": list(lose), "gain": [dict(row) for row in gain], "maintenance": [dict(r) for r in maintenance]}
    return {"ask": "what_if", **({} if checked is None else question(checked)), **asked}


def ask_scheduler(prepared: Mapping[str, Any]) -> dict[str, Any] | None:
    """Ask the scheduler; None if it does not answer in time. Blocks, but needs no database."""
    return ask(dict(prepared), WAIT_S)


def shown(user: User, prepared: Mapping[str, Any], said: dict[str, Any] | None) -> dict[str, Any]:
    """Return the answer as one user may see it: a difference for each visible job, and the sums."""
    if said is None or "error" in said:
        reason = "The scheduler does not answer at the moment. Ask again soon."
        return {"answered": False, "sentence": str(said["error"]) if said else reason, "jobs": [], "new_job": None}
    new_id = str(prepared["job"]["id"]) if "job" in prepared else ""
    ids = {row["job"] for row in said["jobs"]} | set(said["unplaced"]) | set(said["stuck"])
    mine = {str(job.pk): job.name for job in Job.objects.visible_to(user).filter(pk__in=ids).only("id", "name")}
    rows, new_job, others = [], None, 0
    for row in said["jobs"]:
        before, after = row.get("finish_before_lab_s"), row["finish_lab_s"]
        if row["job"] == new_id:
            new_job = {"start_lab_s": row["start_lab_s"], "finish_lab_s": after, "reason": ""}
        elif row["job"] in mine:
            rows.append(_row(row["job"], mine[row["job"]], before, after))
        else:
            others += 1
    for name, why in said["unplaced"].items():
        if name == new_id:
            new_job = {"start_lab_s": None, "finish_lab_s": None, "reason": why}
        elif name in mine:
            rows.append(_row(name, mine[name], None, None, why))
        else:
            others += 1
    rows.sort(key=lambda row: float("-inf") if row["shift_s"] is None else -row["shift_s"])
    changes = {
        "makespan_before_s": said["makespan_before_s"], "makespan_s": said["makespan_s"],
        "flow_before_s": said["flow_before_s"], "flow_s": said["flow_s"], "steps_moved": said["moved"],
    }  # fmt: skip
    said_of_jobs = {"jobs": rows, "other_jobs_changed": others, "new_job": new_job}
    sentence = _sentence(rows, others, changes, sum(name in mine for name in said["stuck"]), bool(said["unplaced"]))
    return {"answered": True, "sentence": sentence, **said_of_jobs, **changes}


def _row(job: str, name: str, before: float | None, after: float | None, why: str = "") -> dict[str, Any]:
    shift = None if before is None or after is None else round(after - before, 3)
    return {
        "job": job, "name": name, "finish_before_lab_s": before, "finish_lab_s": after, "shift_s": shift, "reason": why
    }  # fmt: skip


def _sentence(
    rows: list[dict[str, Any]], others: int, changes: Mapping[str, float], waiting: int, some_left_out: bool
) -> str:
    """Say it in one line.

    Parameters
    ----------
    waiting
        How many of the user's jobs wait for a person or a repair.
    some_left_out
        Whether there are jobs, whosever, that could not be done.
    """
    stuck = sum(row["shift_s"] is None for row in rows)
    later = [row["shift_s"] for row in rows if (row["shift_s"] or 0) > 0]
    sooner = [row["shift_s"] for row in rows if (row["shift_s"] or 0) < 0]
    parts = []
    if stuck:
        parts.append(f"{stuck} of your jobs could not be done")
    if later:
        parts.append(f"{len(later)} of your jobs would finish later, the worst by {say(max(later))}")
    if sooner:
        parts.append(f"{len(sooner)} of your jobs would finish earlier, the best by {say(-min(sooner))}")
    if others:
        parts.append(f"{others} of other people's would change")
    shift = changes["makespan_s"] - changes["makespan_before_s"]
    if abs(shift) >= 1:
        what = "everything else" if some_left_out or waiting else "everything"
        parts.append(f"{what} would be done {say(abs(shift))} {'later' if shift > 0 else 'earlier'}")
    said = f"{'; '.join(parts)}." if parts else "Nothing that is planned would change."
    if waiting:
        said += f" {waiting} of your jobs wait{'s' * (waiting == 1)} for a person or a repair; nobody can say how long."
    return said
