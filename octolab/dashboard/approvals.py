"""The operator's desk: jobs that wait for approval."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import yaml
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from scheduler.models import Job
from scheduler.services import approval
from scheduler.services.requests import IllegalStateError
from scheduler.states import JobState
from users.models import User

from .answers import tell
from .asker import asker


def approvals(user: User) -> list[dict[str, Any]]:
    """Return the jobs that wait for this operator, with what they ask for."""
    return [
        {"job": job, "spec": yaml.safe_dump(job.spec, sort_keys=False, allow_unicode=True)}
        for job in approval.waiting_for(user)[:50]
    ]


@login_required
@require_POST
def decide(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """Approve or reject a job."""
    user = asker(request)
    job = get_object_or_404(Job.objects.select_related("project"), id=job_id)
    waits = job.state == JobState.AWAITING_APPROVAL or Job.objects.visible_to(user).filter(id=job_id).exists()
    if not waits or not approval.may_approve(user, job):
        raise Http404
    said = request.POST.get("note", "").replace("\0", "").strip()[:500]
    try:
        if request.POST.get("decision") == "approve":
            tell(request, approval.approve_job(user, job, said))
        elif said:
            tell(request, approval.reject_job(user, job, said))
        else:
            messages.error(request, "Write down why: its owner is told.", extra_tags="bad")
    except IllegalStateError as refusal:
        messages.error(request, str(refusal), extra_tags="bad")
    return redirect("operator")
