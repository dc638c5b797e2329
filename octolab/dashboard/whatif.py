"""The page on which one asks what would be if."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from scheduler.jobformat.problems import JobRefused
from scheduler.models import Device
from scheduler.services import whatif
from scheduler.services.jobs import LabNotReady, check_job

from .asker import asker
from .thelab import lab_clock

_HOURS = 1e6


@login_required
def what_if(request: HttpRequest) -> HttpResponse:
    """Plan the live queue with something changed, and show what that would mean; nothing is kept."""
    context: dict[str, Any] = {"devices": Device.objects.order_by("id"), "form": request.POST}
    if request.method == "POST":
        try:
            context["answer"] = _ask(request)
        except JobRefused as refused:
            context["problems"] = [str(problem) for problem in refused.problems]
        except (whatif.ImpossibleQuestionError, LabNotReady, ValueError) as error:
            context["problems"] = [str(error)]
    return render(request, "octolab/whatif.html", context)


def _ask(request: HttpRequest) -> dict[str, Any]:
    user, document = asker(request), request.POST.get("document", "").strip()
    device, change = request.POST.get("device", ""), request.POST.get("change", "")
    checked = check_job(user=user, document=document) if document else None
    lose = [device] if device and change == "lose" else []
    gain = [{"id": f"{device}_more", "like": device}] if device and change == "gain" else []
    maintenance: list[dict[str, Any]] = []
    if device and change == "maintenance":
        begin_s, length_s = (3600 * _hours(request.POST.get(name, "")) for name in ("begin", "length"))
        if length_s <= 0:
            raise ValueError("Say for how many hours the device would not be available.")
        start_s = lab_clock().now() + begin_s
        maintenance = [{"device": device, "start_lab_s": start_s, "end_lab_s": start_s + length_s}]
    if not (checked or lose or gain or maintenance):
        raise ValueError("Say what would be otherwise: choose a device and a change, or write a job.")
    prepared = whatif.prepare(checked, lose, gain, maintenance)
    return whatif.shown(user, prepared, whatif.ask_scheduler(prepared))


def _hours(text: str) -> float:
    """Return hours that somebody wrote.

    Raises
    ------
    ValueError
        If it is no number of hours.
    """
    try:
        hours = float(text or 0)
    except ValueError:
        raise ValueError(f"“{text[:20]}” is no number of hours.") from None
    if not 0 <= hours < _HOURS:
        raise ValueError("Hours are counted from now, and not into the past.")
    return hours
