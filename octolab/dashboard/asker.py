"""Who looks at a page, and which jobs exist for them."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest
from django.shortcuts import get_object_or_404

from scheduler.models import Job
from users.models import User


def asker(request: HttpRequest) -> User:
    """Return the signed-in user of a request that has passed ``login_required``."""
    if not isinstance(request.user, User):
        raise TypeError("this view lacks login_required")
    return request.user


def visible_job(request: HttpRequest, job_id: UUID) -> Job:
    """Return a job; 404 if there is none that the asker may see."""
    rows = Job.objects.visible_to(asker(request)).select_related("owner", "project")
    return get_object_or_404(rows, id=job_id)
