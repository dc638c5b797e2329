"""Where a job's samples are, what is done to each now and next, and how its steps went against the plan."""

from __future__ import annotations

from typing import Any

from django.db.models import Min

from scheduler import catalogue
from scheduler.models import Job, Place, Step, StepMember
from scheduler.states import JOB_FINAL, StepState

from . import words
from .plan import extent
from .thelab import lab_clock

MOST_SAMPLES = 200
MOST_STEPS = 500
_UNDER_WAY = (
    StepState.GRANTED, StepState.DISPATCHED, StepState.RUNNING, StepState.PAUSING, StepState.PAUSED,
    StepState.INTERRUPTED,
)  # fmt: skip


def samples_of(job: Job) -> list[dict[str, Any]]:
    """Return the samples with their places, and what is done to them now and next."""
    samples = list(job.samples.order_by("index")[:MOST_SAMPLES])
    kinds, now_s = catalogue.current().places, lab_clock().now()
    places: dict[Any, str] = {}
    held = Place.objects.filter(sample__in=samples).order_by("since_lab_s")
    # The storage place that is kept for later is not where it stands as long as it stands somewhere else.
    for place in sorted(held, key=lambda one: one.resource in kinds and not kinds[one.resource].storage):
        places[place.sample_id] = catalogue.current().place_name(place.resource, place.index)
    now: dict[Any, dict[str, Any]] = {}
    after: dict[Any, dict[str, Any]] = {}
    goes_on = job.state not in JOB_FINAL
    members = StepMember.objects.filter(step__job=job, sample__in=samples, step__dormant=False).select_related("step")
    for member in members.filter(step__state__in=_UNDER_WAY).order_by("step__index"):
        step = member.step
        until_s = extent(step, now_s)[1] if step.started_lab_s is not None else None
        now.setdefault(member.sample_id, {"title": words.step(step), "until": until_s})
    waiting = members.filter(step__state=StepState.WAITING)
    firsts = waiting.order_by().values_list("sample").annotate(first=Min("step__index")) if goes_on else ()
    # A step of several samples may be one's first and another's fifth: the lowest comes last, and stays.
    for member in waiting.filter(step__index__in=[first for _, first in firsts]).order_by("-step__index"):
        after[member.sample_id] = {
            "title": words.step(member.step),
            "start": member.step.planned_start_lab_s,
        }
    return [
        {"sample": one, "place": places.get(one.pk), "now": now.get(one.pk), "next": after.get(one.pk)}
        for one in samples
    ]


def steps_of(job: Job) -> list[dict[str, Any]]:
    """Return the steps as they were planned and as they went, in lab seconds."""
    steps = job.steps.filter(dormant=False).prefetch_related("members__sample").order_by("index")[:MOST_STEPS]
    return [
        {
            "step": step,
            "samples": [member.sample.name for member in step.members.all() if member.sample],
            "expected_s": step.expected_s if step.expected_s is not None else step.duration_s,
            "took_s": _took_s(step),
            "unusual": _unusual(step),
        }
        for step in steps
    ]


def _took_s(step: Step) -> float | None:
    if step.started_lab_s is None or step.ended_lab_s is None:
        return None
    return step.ended_lab_s - step.started_lab_s


def _unusual(step: Step) -> str:
    """Say whether a step took longer or shorter than in four of five cases."""
    took_s = _took_s(step)
    if took_s is None or step.expected_low_s is None or step.expected_high_s is None:
        return ""
    return (
        "longer than usual"
        if took_s > step.expected_high_s
        else "quicker than usual"
        if took_s < step.expected_low_s
        else ""
    )
