"""The list of jobs."""

from __future__ import annotations

from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from octolab.ids import uuid_or_none
from scheduler.models import Job
from scheduler.states import JOB_FINAL, JobState
from users.models import Project, User

from .asker import asker

PAGE = 50
KINDS = (("open", "everything that goes on"), ("asks", "everything that somebody has to look at"))


@login_required
def jobs(request: HttpRequest) -> HttpResponse:
    """List the jobs that the user may see, newest first."""
    user = asker(request)
    filters = {
        key: request.GET.get(key, "").replace("\0", "").strip()[:200] for key in ("q", "state", "owner", "project")
    }
    rows = _matching(user, filters)
    found = rows.count()
    before = uuid_or_none(request.GET.get("before", ""))
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
        if (key := uuid_or_none(text)) is not None:
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
