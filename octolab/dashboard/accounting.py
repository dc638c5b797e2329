"""Who uses what: the page of accounts."""

from __future__ import annotations

from datetime import date, datetime

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from scheduler.accounting.report import report, units
from scheduler.api.accounting import csv_response
from scheduler.services.limits import limits
from users.permissions import my_project

from .asker import asker


@login_required
def accounting(request: HttpRequest) -> HttpResponse:
    """Show module time, samples and consumables by month, project and user."""
    user = asker(request)
    filters = {
        name: request.GET.get(name, "").replace("\0", "")[:150] for name in ("since", "until", "project", "user")
    }
    since, until = _month(filters["since"]), _month(filters["until"])
    lines = report(user, since, until, filters["project"], filters["user"])
    if request.GET.get("format") == "csv":
        return csv_response(lines)
    mine = my_project(user, filters["project"] or None)
    return render(
        request,
        "octolab/accounting.html",
        {
            "lines": lines[:500],
            "filters": filters,
            "units": units(),
            "limits": limits(user, mine[0], always_hours=True) if mine else (),
            "query": request.GET.urlencode(),
        },
    )


def _month(text: str) -> date | None:
    try:
        return datetime.strptime(text, "%Y-%m").date()  # noqa: DTZ007 - a month has no zone
    except ValueError:
        return None
