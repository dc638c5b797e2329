"""Results of several jobs side by side: one chart with all curves, one table with all samples."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from analysis.results import job_results
from octolab.ids import uuid_or_none
from scheduler.models import Job
from users.models import User

from .asker import asker
from .results import figures_and_table

MOST = 6
OFFERED = 30


@login_required
def compare(request: HttpRequest) -> HttpResponse:
    """Show the jobs that the address names, as far as the user may see them."""
    wanted = [found for text in request.GET.getlist("job") if (found := uuid_or_none(text)) is not None][:MOST]
    rows = Job.objects.visible_to(asker(request)).select_related("owner", "project").in_bulk(wanted)
    jobs = [rows[key] for key in dict.fromkeys(wanted) if key in rows]
    named = [(f"{number}. {job.name}" if len(jobs) > 1 else "", job_results(job)) for number, job in enumerate(jobs, 1)]
    context = {"jobs": jobs, "others": others(asker(request), jobs), "full": len(jobs) >= MOST}
    return render(request, "octolab/compare.html", context | figures_and_table(named))


def others(user: User, but: list[Job]) -> list[Job]:
    """Return the newest jobs that have begun, of the same projects if there are any named already."""
    jobs = Job.objects.visible_to(user).exclude(pk__in=[job.pk for job in but]).exclude(started_lab_s=None)
    if but:
        jobs = jobs.filter(project__in={job.project_id for job in but})
    return list(jobs.defer("spec").order_by("-id")[:OFFERED])
