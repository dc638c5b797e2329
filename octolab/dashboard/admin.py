"""The pages of lab admins."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.dateparse import parse_date

from users.audit.search import Wanted, search

from .asker import asker

PAGE = 100
_LONGEST = 200


def admins_only(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Let lab admins in; for others the page does not exist."""

    @wraps(view)
    @login_required
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not asker(request).is_lab_admin:
            raise Http404
        return view(request, *args, **kwargs)

    return guarded


@admins_only
def audit(request: HttpRequest) -> HttpResponse:
    """Search the audit log."""
    names = ("actor", "verb", "subject", "project", "text")
    filters: dict[str, Any] = {name: _clean(request.GET.get(name, "")) for name in names}
    since = _day(request.GET.get("since", ""))
    found = search(Wanted(**filters, since=since))
    before = request.GET.get("before", "")
    if before.isascii() and before.isdigit() and len(before) <= 18:
        found = found.filter(seq__lt=int(before))
    page = list(found[: PAGE + 1])
    older = ""
    if len(page) > PAGE:
        page = page[:PAGE]
        older = urlencode({**filters, "since": request.GET.get("since", ""), "before": page[-1].seq})
    context = {"entries": page, "filters": filters, "since": since, "older": older}
    return render(request, "octolab/admin/audit.html", context)


def _clean(text: str) -> str:
    return text.replace("\0", "").strip()[:_LONGEST]


def _day(text: str) -> datetime | None:
    try:
        day = parse_date(text)
    except ValueError:
        return None
    return None if day is None else datetime(day.year, day.month, day.day, tzinfo=UTC)
