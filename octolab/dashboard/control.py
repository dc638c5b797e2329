"""The buttons of a job: only what is legal now, and for whom they are."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from octolab.templatetags.lab import duration
from scheduler.models import Job
from scheduler.services import requests, windows
from scheduler.services.verbs import CONTROLS, legal
from users.models import User

from .answers import tell
from .asker import asker, visible_job
from .submission import submit_text
from .thelab import lab_clock

_ASK = {
    "hold": "Hold this job? What runs is finished, nothing more starts, and samples keep their places.",
    "release": "Let this job go on?",
    "pause": "Pause this job at the next safe points? Actions without one run to their end; dwell times go on.",
    "resume": "Let this job go on?",
    "stop": "Stop this job early? All data are kept, samples are taken to storage, and it counts as a success.",
    "cancel": "Cancel this job? Samples that are under way are taken to storage first.",
    "abort": "Abort this job? What runs is aborted, samples are taken to storage, and it counts as a failure.",
    "halt": "HALT this job? No command is sent any more, nothing is cleaned up, and vessels stay where they are.",
}


@dataclass(frozen=True)
class Button:
    """A verb that may be asked for now."""

    verb: str
    ask: str
    danger: bool

    @property
    def label(self) -> str:
        """What stands on it; nobody shall take it for the emergency stop."""
        return {"stop": "Stop early", "release": "Release", "halt": "Halt without clean-up"}.get(
            self.verb, self.verb.capitalize()
        )


def buttons(user: User, job: Job) -> list[Button]:
    """Return the verbs that are legal in the job's present state, for this user."""
    possible = legal(job)
    shown = [verb for verb in CONTROLS if verb in possible and requests.may_control(user, job, verb)]
    risk = _risk(job) if {"hold", "pause"} & set(shown) else ""
    return [
        Button(verb, _ASK[verb] + (risk if verb in ("hold", "pause") else ""), verb in ("cancel", "abort", "halt"))
        for verb in shown
    ]


@login_required
@require_POST
def again(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """Submit the very same job once more, as a new one that is linked to it."""
    old = visible_job(request, job_id)
    new, problems = submit_text(asker(request), old.spec, old.project, request.POST.get("key", ""), rerun_of=old)
    for problem in problems:
        messages.error(request, str(problem), extra_tags="bad")
    return redirect("job", job_id=new.pk if new is not None else old.pk)


def _risk(job: Job) -> str:
    """Say which windows waiting would break."""
    now_s = lab_clock().now()
    lines = [
        f" {window.step.name} must start"
        + (f" in {duration(window.latest_lab_s - now_s)}" if window.latest_lab_s is not None else " soon")
        + f" (within {duration(window.within_s)} after {window.after.name})."
        for window in windows.at_risk(job)[:5]
    ]
    return "".join([" If that lasts, windows are broken:", *lines]) if lines else ""


@login_required
@require_POST
def job_control(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """Ask for a verb."""
    user = asker(request)
    job = get_object_or_404(Job.objects.visible_to(user).select_related("project"), id=job_id)
    verb = request.POST.get("verb", "")
    if verb not in CONTROLS:
        raise Http404
    try:
        tell(request, requests.control_job(user, job, verb, request.POST.get("reason", "").strip()[:1000]))
    except requests.IllegalStateError as refusal:
        messages.error(request, str(refusal), extra_tags="bad")
    return redirect("job", job_id=job.id)
