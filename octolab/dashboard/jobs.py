"""The pages of jobs: list, one job, submit."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import yaml
from django.contrib.auth.decorators import login_required
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from octolab.ids import new_id
from scheduler.jobformat.problems import Problem
from scheduler.models import Event, Job, Step
from scheduler.services import why
from scheduler.services.standing import standing
from scheduler.states import JOB_FINAL, JobState, StepState
from users.models import Project, ProjectRole, User

from . import words
from .asker import asker, visible_job
from .control import buttons
from .offers import offers
from .plan import extent, job_timeline
from .progress import samples_of, steps_of
from .questions import questions
from .results import job_figures_and_table
from .submission import examples, fitting, look_at, submit_text

PAGE = 50
KINDS = (("open", "everything that goes on"), ("asks", "everything that somebody has to look at"))
LOG_ENTRIES = 200
ASKED_LATER = ("why", "steps")
"""Parts that a page asks for once it is there: an answer takes a moment, or few want it."""
RUNNING = (StepState.DISPATCHED, StepState.RUNNING, StepState.PAUSING, StepState.PAUSED, StepState.INTERRUPTED)


@login_required
def jobs(request: HttpRequest) -> HttpResponse:
    """List the jobs that the user may see, newest first."""
    user = asker(request)
    filters = {
        key: request.GET.get(key, "").replace("\0", "").strip()[:200] for key in ("q", "state", "owner", "project")
    }
    rows = _matching(user, filters)
    found = rows.count()
    before = _uuid(request.GET.get("before", ""))
    if before is not None:
        rows = rows.filter(id__lt=before)
    page = list(rows.select_related("owner", "project").defer("spec").order_by("-id")[: PAGE + 1])
    more, page = len(page) > PAGE, page[:PAGE]
    return render(
        request,
        "octolab/jobs.html",
        {
            "jobs": page,
            "found": found,
            "filters": filters,
            "filtered": any(filters.values()),
            "kinds": KINDS,
            "states": JobState.choices,
            "projects": Project.objects.visible_to(user).order_by("name"),
            "older": urlencode(filters | {"before": page[-1].id}) if more else "",
            "newest": urlencode(filters) if before is not None else "",
        },
    )


def _matching(user: User, filters: dict[str, str]) -> QuerySet[Job]:
    """Return the jobs that match: by a part of the name, by an owner's name, or by id."""
    rows = Job.objects.visible_to(user)
    if text := filters["q"]:
        sought = Q(name__icontains=text) | Q(owner__username=text) | Q(campaign=text)
        if (key := _uuid(text)) is not None:
            sought |= Q(pk=key)
        rows = rows.filter(sought)
    if filters["state"] in JobState.values:
        rows = rows.filter(state=filters["state"])
    elif filters["state"] == "open":
        rows = rows.exclude(state__in=JOB_FINAL)
    elif filters["state"] == "asks":
        rows = rows.filter(
            state__in=[JobState.NEEDS_OPERATOR, JobState.AWAITING_APPROVAL, JobState.PAUSED, JobState.HELD]
        )
    if filters["owner"] == "me":
        rows = rows.filter(owner=user)
    if filters["project"]:
        rows = rows.filter(project__slug=filters["project"])
    return rows


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


@login_required
def submit(request: HttpRequest) -> HttpResponse:
    """Check a job, show its predicted times, and submit it once confirmed."""
    document = request.POST.get("document", "")
    if request.method == "GET" and (origin := _uuid(request.GET.get("from", ""))):
        document = yaml.safe_dump(visible_job(request, origin).spec, sort_keys=False, allow_unicode=True)
    context: dict[str, Any] = {
        "document": document,
        "project": request.POST.get("project", ""),
        "projects": Project.objects.visible_to(asker(request))
        .filter(memberships__user=asker(request), memberships__role__in=[ProjectRole.MEMBER, ProjectRole.ADMIN])
        .order_by("name"),
        "examples": fitting(),
        "offers": offers(),
        "key": request.POST.get("key") or str(new_id()),
    }
    if request.method == "POST":
        if request.POST.get("action") == "submit":
            accepted, problems = submit_text(asker(request), document, context["project"], context["key"])
            if accepted is not None:
                return redirect("job", job_id=accepted.id)
            context["problems"] = problems
        else:
            context["preview"], context["problems"] = look_at(asker(request), document, context["project"])
    return render(request, "octolab/submit.html", context)


@login_required
@require_POST
def draft(request: HttpRequest) -> HttpResponse:
    """Say what is wrong with a job that somebody is writing; nothing is predicted or kept."""
    document = request.POST.get("document", "")
    found: dict[str, Any] | None = None
    problems: list[Problem] = []
    if document.strip():
        found, problems = look_at(asker(request), document, request.POST.get("project", ""), predicted=False)
    return render(request, "octolab/parts/draft.html", {"draft": found, "problems": problems})


@login_required
def example(request: HttpRequest, name: str) -> HttpResponse:
    """Return the text of an example job."""
    for row in examples():
        if row.name == name:
            return HttpResponse(row.text, content_type="text/plain; charset=utf-8")
    raise Http404


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


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
