"""The pages of lab admins."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.dateparse import parse_date

from users.audit.search import Wanted, search

from .asker import asker
from .audit_words import in_words

PAGE = 100
KINDS = (
    ("job", "with jobs"),
    ("step", "with steps: decisions, answers"),
    ("sample", "with samples"),
    ("stock", "with stocks"),
    ("estop", "emergency stops"),
    ("lab", "with the lab: locks, interlocks, settings, roles"),
    ("log", "signing in and out"),
    ("login.fail", "wrong passwords"),
    ("token", "with tokens"),
    ("user", "with accounts"),
    ("password", "with passwords"),
    ("factor", "with second factors"),
    ("member", "with members of projects"),
    ("project", "with projects"),
    ("quota", "with quotas"),
    ("channel", "with notifications"),
)
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
    days = {name: request.GET.get(name, "") for name in ("since", "until")}
    since, last = _day(days["since"]), _day(days["until"])
    found = search(Wanted(**filters, since=since, until=None if last is None else last + timedelta(days=1)))
    before = request.GET.get("before", "")
    if before.isascii() and before.isdigit() and len(before) <= 18:
        found = found.filter(seq__lt=int(before))
    page = list(found[: PAGE + 1])
    older = ""
    if len(page) > PAGE:
        page = page[:PAGE]
        older = urlencode({**filters, **days, "before": page[-1].seq})
    context = {
        "entries": in_words(page, asker(request)),
        "filters": filters,
        "days": {"since": since and since.date().isoformat(), "until": last and last.date().isoformat()},
        "kinds": KINDS,
        "searched": any(filters.values()) or any(days.values()),
        "older": older,
    }
    return render(request, "octolab/admin/audit.html", context)


def _clean(text: str) -> str:
    return text.replace("\0", "").strip()[:_LONGEST]


def _day(text: str) -> datetime | None:
    try:
        day = parse_date(text)
    except ValueError:
        return None
    return None if day is None else datetime(day.year, day.month, day.day, tzinfo=UTC)
