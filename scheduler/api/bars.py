"""The bars of the plan as a user may see them. By hand, because there may be thousands: a serializer takes a second."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import F, Q

from octolab.labtime import clock
from scheduler.models import Job, Step, StepMember
from scheduler.services.cycles import Expected, expected_cycles
from scheduler.states import STEP_FINAL
from users.models import User

MOST_STEPS = 5000
_COLUMNS = (
    "id", "job_id", "job__name", "devices", "name", "module", "state", "started_lab_s", "planned_start_lab_s",
    "planned_end_lab_s",
)  # fmt: skip


def planned(user: User, begin: float | None = None, end: float | None = None) -> list[dict[str, Any]]:
    """Return what runs and what is planned, by its start (lab seconds), with the next cycles of closed loops."""
    steps = (
        Step.objects.exclude(state__in=STEP_FINAL)
        .exclude(planned_start_lab_s=None, started_lab_s=None)
        .order_by(F("started_lab_s").asc(nulls_last=True), "planned_start_lab_s", "pk")
    )
    if begin is not None:
        steps = steps.filter(Q(planned_end_lab_s=None) | Q(planned_end_lab_s__gte=begin))
    if end is not None:
        steps = steps.filter(Q(started_lab_s__lte=end) | Q(started_lab_s=None, planned_start_lab_s__lte=end))
    rows = list(steps.values_list(*_COLUMNS)[:MOST_STEPS])
    jobs = Job.objects.filter(pk__in={row[1] for row in rows})
    mine = set(jobs.filter(pk__in=Job.objects.visible_to(user).values("pk")).values_list("pk", flat=True))
    named = set(jobs.filter(project__shows_names=True).values_list("pk", flat=True))
    samples = _samples(user, [row[0] for row in rows if row[1] in mine])
    shown, bars = _Moments(), []
    for pk, job, job_name, devices, name, module, state, began_s, planned_s, planned_end_s in rows:
        bar: dict[str, Any] = {
            "busy": job not in mine,
            "devices": devices,
            "start": shown.at(planned_s if began_s is None else began_s),
            "end": shown.at(planned_end_s),
        }
        if job in mine:
            bar |= {
                "step": pk, "job": job, "job_name": job_name, "name": name, "module": module, "state": state,
                "samples": samples.get(pk, []),
            }  # fmt: skip
        elif not devices:
            continue  # a standby step of somebody else occupies no device: there is nothing to show
        elif job in named:
            bar["job_name"] = job_name
        bars.append(bar)
    bars += [_expected(one, shown) for one in expected_cycles(user) if _within(one, begin, end)]
    return bars


def _within(one: Expected, begin: float | None, end: float | None) -> bool:
    return (begin is None or one.end_s >= begin) and (end is None or one.start_s <= end)


def _expected(one: Expected, shown: _Moments) -> dict[str, Any]:
    bar: dict[str, Any] = {
        "busy": one.job is None,
        "devices": dict.fromkeys(one.devices, "use"),
        "start": shown.at(one.start_s),
        "end": shown.at(one.end_s),
        "expected": True,
    }
    if one.job is not None:
        bar |= {"job": one.job, "job_name": one.name, "name": one.title}
    elif one.name:
        bar["job_name"] = one.name
    return bar


def _samples(user: User, steps: list[UUID]) -> dict[UUID, list[str]]:
    found: dict[UUID, list[str]] = {}
    for begin in range(0, len(steps), 500):
        members = StepMember.objects.filter(step__in=steps[begin : begin + 500], sample__isnull=False).order_by("pk")
        for step, name in members.values_list("step_id", "sample__name"):
            found.setdefault(step, []).append(str(name))
    return found


class _Moments:
    """Writes moments of lab time."""

    def __init__(self) -> None:
        self._clock = clock()

    def at(self, lab_s: float | None) -> dict[str, Any] | None:
        """Return lab seconds and date."""
        if lab_s is None:
            return None
        if self._clock is None:
            return {"lab_s": round(lab_s, 3), "at": None}
        return {"lab_s": round(lab_s, 3), "at": self._clock.datetime(lab_s).isoformat().replace("+00:00", "Z")}
