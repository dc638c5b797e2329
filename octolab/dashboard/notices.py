"""What stands at the top of every page as long as it is so: stops, interlocks, locks, what is silent, who waits."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils import timezone

from scheduler.models import Device, Leader, MaintenanceLock
from scheduler.services import approval, interlocks, people
from scheduler.services.overdue import overdue_steps
from scheduler.services.requests import interrupted_orders, late_steps
from scheduler.services.stranded import stranded_samples
from scheduler.states import DeviceState
from users.models import User

from .asker import asker
from .estop import latches
from .thelab import the_lab

SILENT_AFTER = timedelta(seconds=30)
"""A scheduler that leads renews its lease every few seconds."""


@login_required
def banner(request: HttpRequest) -> HttpResponse:
    """Show what everybody has to know now; 204 if that is what the page shows already, so that nobody is told twice."""
    user = asker(request)
    said = latches(user) | _state_of_the_lab() | {"tasks": _waits_for(user), "operator": user.operates()}
    text = render_to_string("octolab/parts/notices.html", said)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    if request.GET.get("shown") == digest:
        return HttpResponse(status=204)
    return HttpResponse(render_to_string("octolab/parts/banner.html", {"text": text, "digest": digest}))


def _state_of_the_lab() -> dict[str, Any]:
    leader = Leader.objects.filter(pk=1).first()
    silent = leader is None or leader.renewed_at is None or timezone.now() - leader.renewed_at > SILENT_AFTER
    owned = [device.id for device in the_lab().devices]
    offline = list(
        Device.objects.filter(pk__in=owned, state=DeviceState.OFFLINE).order_by("id").values_list("id", flat=True)
    )
    return {
        "interlocks": [item for item in interlocks.listed() if item["tripped"]],
        "locks": MaintenanceLock.objects.filter(released_at=None).select_related("holder").order_by("id"),
        "silent": silent,
        "silent_since": leader.renewed_at if leader is not None else None,
        "offline": offline,
        "nothing_connected": bool(owned) and len(offline) == len(owned),
    }


def _waits_for(user: User) -> dict[str, int]:
    """Return how much of what kind waits for this person."""
    found = {"questions": people.waiting_for(user).count()}
    if user.operates():
        asked = [*(steps[0] for steps in interrupted_orders()), *late_steps()]
        decisions = sum(user.operates(step.module) for step in asked)
        overdue = sum(user.operates(step.module) for step in overdue_steps())
        found |= {"overdue": overdue, "decisions": decisions, "approvals": approval.waiting_for(user).count()}
        found["stranded"] = len(stranded_samples())
    return found | {"any": sum(found.values())}
