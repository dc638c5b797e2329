"""The page on which a job is written, checked and submitted."""

from __future__ import annotations

from typing import Any

import yaml
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from octolab.ids import new_id, uuid_or_none
from scheduler.jobformat.problems import Problem
from users.models import Project, ProjectRole

from .asker import asker, visible_job
from .offers import offers
from .submission import examples, fitting, look_at, submit_text


@login_required
def submit(request: HttpRequest) -> HttpResponse:
    """Check a job, show its predicted times, and submit it once confirmed."""
    document = request.POST.get("document", "")
    if request.method == "GET" and (origin := uuid_or_none(request.GET.get("from", ""))):
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
