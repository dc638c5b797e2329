"""The lab's clock and zone for the web process."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from django.conf import settings

from analysis.documents import DocumentStore
from modules.contract import clock, lab


@lru_cache(maxsize=1)
def store() -> DocumentStore:
    """Return this process's document store."""
    return DocumentStore(settings.MONGO_URL)


@lru_cache(maxsize=1)
def lab_clock() -> clock.LabClock:
    """Return the lab's clock; raises ``LookupError`` until `manage.py prepare_lab` has run."""
    return clock.attach(store().database)


@lru_cache(maxsize=1)
def the_lab() -> lab.Lab:
    """Return the lab file's content."""
    return lab.load(settings.LAB_FILE)


def local_time(lab_s: float) -> datetime:
    """Convert a lab second to the lab's date and time, in the lab's zone."""
    return lab_clock().datetime(lab_s).astimezone(ZoneInfo(the_lab().timezone))
