"""The plan as a picture, as one user may see it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.urls import reverse

from scheduler.models import Device, Job, Step
from scheduler.services import versions
from scheduler.services.cycles import expected_cycles
from scheduler.states import STEP_FINAL, StepState

from . import figures, words
from .thelab import device_title, lab_clock, local_time

HORIZON_STEPS = 3000
RECENT_S = 3600.0
_NUMBERED = re.compile(r"_\d+$")


def lab_plan(user: Any) -> dict[str, Any]:
    """Return the plan of all devices: own work named and coloured, other people's *busy* without names."""
    now_s = lab_clock().now()
    steps = list(
        Step.objects.filter(action__isnull=False, dormant=False, planned_start_lab_s__isnull=False)
        .exclude(state__in=[StepState.CANCELLED, StepState.SKIPPED])
        .filter(~Q(state__in=STEP_FINAL) | Q(ended_lab_s__gt=now_s - RECENT_S))
        .order_by("planned_start_lab_s")
        .only(
            "job_id", "name", "module", "task_name", "state", "devices", "duration_s", "adds",
            "planned_start_lab_s", "planned_end_lab_s", "started_lab_s", "ended_lab_s",
        )[:HORIZON_STEPS]
    )  # fmt: skip
    mine = {
        job.id: job for job in Job.objects.visible_to(user).filter(id__in={s.job_id for s in steps}).only("id", "name")
    }
    named = dict(
        Job.objects.filter(id__in={s.job_id for s in steps}, project__shows_names=True).values_list("id", "name")
    )
    colours = {job_id: number % figures.COLOURS for number, job_id in enumerate(sorted(mine))}
    rows: dict[str, list[figures.Bar]] = {device.id: [] for device in Device.objects.order_by("id")}
    others = False
    for step in steps:
        start_s, end_s = extent(step, now_s)
        start_s = max(start_s, min(now_s - RECENT_S, end_s))
        job = mine.get(step.job_id)
        others = others or job is None
        css = f"s{colours[step.job_id]}" if job else "other"
        if step.started_lab_s is None and job:
            css += " future"
        title = f"{job.name}: {words.step(step)}" if job else named.get(step.job_id, "busy")
        href = reverse("job", args=[job.id]) if job else ""
        for device in step.devices:
            rows.setdefault(device, []).append(figures.Bar(start_s, end_s, css, title, href))
    expected = expected_cycles(user)
    for one in expected:
        css = f"s{colours.get(one.job, 0)} expected" if one.job else "other expected"
        href = reverse("job", args=[one.job]) if one.job else ""
        for name in one.devices:
            rows.setdefault(name, []).append(figures.Bar(one.start_s, one.end_s, css, one.title, href))
    return {
        "figure": figures.timeline(
            [figures.Row(device_title(d), bars) for d, bars in rows.items()],
            now_s,
            midnight_s(now_s),
            axis_text,
            always_now=True,
        ),
        "expected": sorted({one.title for one in expected if one.job and one.cycle == 1}),
        "jobs": [{"id": job.id, "name": job.name, "colour": colours[job.id]} for job in mine.values()][:24],
        "others": others,
        "published": versions.latest(user),
        "now_s": now_s,
    }


def job_timeline(job: Job) -> dict[str, Any]:
    """Return a job's steps as a picture: a row for each sample, a colour for each task and its repeats."""
    now_s = lab_clock().now()
    steps = list(
        job.steps.prefetch_related("members__task", "members__sample")
        .filter(dormant=False)
        .exclude(state__in=[StepState.CANCELLED, StepState.SKIPPED])
        .order_by("index")
    )
    keys: dict[str, int] = {}
    rows: dict[str, list[figures.Bar]] = {}
    for step in steps:
        if step.planned_start_lab_s is None and step.started_lab_s is None:
            continue
        start_s, end_s = extent(step, now_s)
        for member in step.members.all():
            number = keys.setdefault(_kind(member.task.key), len(keys))
            css = f"s{number % figures.COLOURS}"
            css += " standby" if step.action is None else ""
            css += " future" if step.started_lab_s is None else ""
            title = f"{words.step(step)} ({step.get_state_display()})"
            rows.setdefault(member.sample.name if member.sample else "job", []).append(
                figures.Bar(start_s, end_s, css, title)
            )
    return {
        "figure": figures.timeline(
            [figures.Row(name, bars) for name, bars in rows.items()], now_s, midnight_s(now_s), axis_text
        ),
        "legend": figures.legend(list(keys)),
        "now_s": now_s,
    }


def _kind(key: str) -> str:
    """Return under what a task stands in the legend: its key without number; what octolab added itself is clean-up."""
    return "clean-up" if key.startswith(("ends ", "cleanup_")) else words.plain(_NUMBERED.sub("", key))


def extent(step: Step, now_s: float) -> tuple[float, float]:
    """Return where a step's bar begins and ends, in lab seconds: as it happened, else as it is planned."""
    start_s = step.started_lab_s if step.started_lab_s is not None else step.planned_start_lab_s or now_s
    if step.ended_lab_s is not None:
        return start_s, step.ended_lab_s
    planned_end_s = step.planned_end_lab_s or start_s + step.duration_s
    return start_s, max(planned_end_s, now_s if step.started_lab_s is not None else start_s)


def midnight_s(now_s: float) -> float:
    """Return the lab second of the last midnight in the lab's zone."""
    now = local_time(now_s)
    return now_s - (now.hour * 3600 + now.minute * 60 + now.second + now.microsecond / 1e6)


def axis_text(lab_s: float) -> str:
    """Write a lab second for an axis, in the lab's zone."""
    shown = local_time(lab_s) + timedelta(seconds=0.5)
    return (
        f"{shown:%H:%M:%S}"
        if shown.second
        else f"{shown:%a %H:%M}"
        if shown.hour + shown.minute == 0
        else f"{shown:%H:%M}"
    )
