"""Searching the log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet

from .models import AuditEntry


@dataclass(frozen=True)
class Wanted:
    """What to look for; empty means anything."""

    actor: str = ""
    verb: str = ""
    """A verb, or the beginning of one: ``token`` finds ``token.create``."""
    subject: str = ""
    project: str = ""
    text: str = ""
    """Part of subject or detail."""
    since: datetime | None = None
    until: datetime | None = None


def search(wanted: Wanted) -> QuerySet[AuditEntry]:
    """Return the entries that match, newest first."""
    found = AuditEntry.objects.order_by("-seq")
    if wanted.actor:
        found = found.filter(actor=wanted.actor)
    if wanted.verb:
        found = found.filter(verb__startswith=wanted.verb)
    if wanted.subject:
        found = found.filter(subject=wanted.subject)
    if wanted.project:
        found = found.filter(project=wanted.project)
    if wanted.text:
        found = found.filter(Q(subject__icontains=wanted.text) | Q(detail__icontains=wanted.text))
    if wanted.since is not None:
        found = found.filter(at__gte=wanted.since)
    if wanted.until is not None:
        found = found.filter(at__lt=wanted.until)
    return found
