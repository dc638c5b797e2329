"""The emergency stop on the dashboard: a button on every page, and its own page."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from analysis.documents import StoreError
from scheduler.services import estop
from users.models import User

from .asker import asker
from .doings import Doing, let_go
from .thelab import LabAwayError


@login_required
def page(request: HttpRequest) -> HttpResponse:
    """Show the emergency stops; a POST trips one, and writes nothing to the database."""
    if request.method == "POST":
        return _trip(request)
    return render(request, "octolab/estop.html", latches(asker(request)) | {"stoppable": estop.scopes()})


@login_required
def state(request: HttpRequest) -> HttpResponse:
    """Show the state of all emergency stops anew."""
    return render(request, "octolab/parts/estop_state.html", latches(asker(request)))


@login_required
@require_POST
def rearm(request: HttpRequest) -> HttpResponse:
    """Take an operator's word that all is well."""
    scope, note = request.POST.get("scope", ""), request.POST.get("note", "").strip()
    try:
        if not note:
            raise estop.NotTrippedError("Write down what you checked at the bench.")
        estop.rearm(asker(request), scope, note[:2000])
    except (estop.NotTrippedError, estop.UnknownScopeError) as error:
        messages.error(request, str(error), extra_tags="bad")
    return redirect("estop")


def _trip(request: HttpRequest) -> HttpResponse:
    try:
        estop.trip(asker(request), request.POST.get("scope", estop.LAB), request.POST.get("reason", "")[:1000])
    except estop.UnknownScopeError as error:
        return HttpResponse(str(error), status=422, content_type="text/plain; charset=utf-8")
    # The page's script asks for the answer alone: the page that follows could be slow, and look like a failure.
    return HttpResponse(status=204) if "answer" in request.POST else redirect("estop")


def latches(user: User) -> dict[str, Any]:
    """Return the tripped emergency stops, and whether the store that knows them is away."""
    try:
        found = [latch for latch in estop.latches() if latch.tripped]
        tripped = [
            {
                "latch": latch,
                "devices": estop.outcome(latch, estop.devices_in(latch.scope)),
                "may_rearm": estop.may_rearm(user, latch.scope),
                "goes_on": partial(_goes_on, latch.scope, user),
            }
            for latch in found
        ]
    except StoreError:
        # What this process has tripped meanwhile is known here all the same.
        waiting = [
            {"latch": made.latch, "devices": estop.confirmations(made), "may_rearm": False}
            for made in estop.not_stored()
        ]
        return {"tripped": waiting, "away": True}
    return {"tripped": tripped, "away": False}


def _goes_on(scope: str, user: User) -> list[Doing] | None:
    """Return what would move first after re-arming; None if that is not known at the moment."""
    try:
        return let_go(estop.devices_in(scope), user)
    except (DatabaseError, LabAwayError):
        return None
