"""The page of one job, and its parts, which are shown anew as things happen."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import yaml
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from octolab.ids import new_id
from scheduler.models import Event, Job, Step
from scheduler.services import why
from scheduler.services.standing import standing
from scheduler.states import JOB_FINAL, StepState

from . import words
from .asker import asker, visible_job
from .control import buttons
from .plan import extent, job_timeline
from .progress import samples_of, steps_of
from .questions import questions
from .results import job_figures_and_table

LOG_ENTRIES = 200
ASKED_LATER = ("why", "steps")
"""Parts that a page asks for once it is there: an answer takes a moment, or few want it."""
RUNNING = (StepState.DISPATCHED, StepState.RUNNING, StepState.PAUSING, StepState.PAUSED, StepState.INTERRUPTED)


@login_required
def job(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """Show one job: where it is, what it measured, what happened."""
    row = visible_job(request, job_id)
    spec = yaml.safe_dump(row.spec, sort_keys=False, allow_unicode=True)
    context: dict[str, Any] = {"job": row, "spec": spec}
    for name, part in _PARTS.items():
        if name not in ASKED_LATER:
            context |= part(request, row)
    return render(request, "octolab/job.html", context)


@login_required
def job_part(request: HttpRequest, job_id: UUID, part: str) -> HttpResponse:
    """Show one part of a job's page anew."""
    if part not in _PARTS:
        raise Http404
    row = visible_job(request, job_id)
    return render(request, f"octolab/parts/job_{part}.html", {"job": row} | _PARTS[part](request, row))


def _status(request: HttpRequest, row: Job) -> dict[str, Any]:
    running = [
        _running_step(step)
        for step in row.steps.filter(state__in=RUNNING).prefetch_related("members__sample").order_by("index")[:12]
    ]
    return {
        "buttons": buttons(asker(request), row),
        "key": str(new_id()),
        "start": row.started_lab_s if row.started_lab_s is not None else row.predicted_start_lab_s,
        "finish": row.finished_lab_s if row.finished_lab_s is not None else row.predicted_finish_lab_s,
        "running": running,
        "failed": _failed(row),
        "waits": row.steps.filter(state=StepState.WAITING, dormant=False).exclude(reason="").order_by("index")[:12],
    }


def _failed(row: Job) -> list[dict[str, Any]]:
    """Return the last steps that went wrong: what, with which sample, and why."""
    wrong = row.steps.filter(state__in=[StepState.FAILED, StepState.ABORTED]).order_by("-ended_lab_s", "-index")
    return [
        {
            "step": step,
            "samples": [member.sample.name for member in step.members.all() if member.sample],
            "why": step.reason or "; ".join(dict.fromkeys(m.error for m in step.members.all() if m.error)),
        }
        for step in wrong.prefetch_related("members__sample")[:6]
    ]


def _running_step(step: Step) -> dict[str, Any]:
    samples = [member.sample.name for member in step.members.all() if member.sample]
    _, until = extent(step, step.started_lab_s or 0.0)
    return {
        "id": step.id,
        "state": step.state,
        "person": step.person,
        "title": words.step(step),
        "where": " · ".join(filter(None, [*samples, words.used(step)])),
        "moves": step.state in (StepState.DISPATCHED, StepState.RUNNING, StepState.PAUSING),
        "attended": step.action is not None,
        "until": until,
    }


def _timeline(request: HttpRequest, row: Job) -> dict[str, Any]:
    return job_timeline(row)


def _steps(request: HttpRequest, row: Job) -> dict[str, Any]:
    return {"steps": steps_of(row)}


def _standing(request: HttpRequest, row: Job) -> dict[str, Any]:
    return {"standing": standing(row), "final": row.state in JOB_FINAL}


def _samples(request: HttpRequest, row: Job) -> dict[str, Any]:
    return {"samples": samples_of(row)}


def _why(request: HttpRequest, row: Job) -> dict[str, Any]:
    said = why.at_once(row)
    return {"why": said or why.explained(asker(request), row, why.ask_scheduler(row.id))}


def _results(request: HttpRequest, row: Job) -> dict[str, Any]:
    return job_figures_and_table(row)


def _log(request: HttpRequest, row: Job) -> dict[str, Any]:
    events = list(Event.objects.filter(job=row).order_by("-seq")[:LOG_ENTRIES])
    steps = {
        str(step.id): words.step(step)
        for step in Step.objects.filter(id__in=[e.subject for e in events if e.kind == "step"])
    }
    samples = {str(sample.id): sample.name for sample in row.samples.all()}
    for event in events:
        event.title = steps.get(event.subject) or samples.get(event.subject) or event.kind  # type: ignore[attr-defined]
    return {"events": events, "events_total": Event.objects.filter(job=row).count()}


def _questions(request: HttpRequest, row: Job) -> dict[str, Any]:
    return {"questions": questions(asker(request), row)}


_PARTS = {
    "status": _status,
    "why": _why,
    "standing": _standing,
    "questions": _questions,
    "samples": _samples,
    "timeline": _timeline,
    "steps": _steps,
    "results": _results,
    "log": _log,
}
