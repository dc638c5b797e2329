"""The lab as pages need it: its file, its documents, its time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from analysis.documents import StoreError
from modules.contract import lab
from modules.contract.clock import LabClock
from octolab import labtime

log = logging.getLogger(__name__)


class LabAwayError(Exception):
    """The document store cannot be reached, so the lab's time or its records are not known at the moment."""


def the_lab() -> lab.Lab:
    """Return the lab file's content."""
    return _read(Path(settings.LAB_FILE))


@lru_cache(maxsize=1)
def _read(lab_file: Path) -> lab.Lab:
    return lab.load(lab_file)


def device_title(device_id: str) -> str:
    """Return what people call a device, or a person who is planned like one."""
    return _titles(Path(settings.LAB_FILE)).get(device_id) or device_id


def module_title(instance: str) -> str:
    """Return what people call a module."""
    section = the_lab().modules.get(instance)
    return (section.title if section is not None else "") or instance


@lru_cache(maxsize=1)
def _titles(lab_file: Path) -> dict[str, str]:
    found = _read(lab_file)
    return {one.id: one.title for one in found.devices} | {one.id: one.title for one in found.people}


def lab_clock() -> LabClock:
    """Return the lab's clock.

    Raises
    ------
    LabAwayError
        If the document store that anchors it has not answered yet.
    """
    clock = labtime.clock()
    if clock is None:
        raise LabAwayError
    return clock


def local_time(lab_s: float) -> datetime:
    """Convert a lab second to the lab's date and time, in the lab's zone."""
    return lab_clock().datetime(lab_s).astimezone(ZoneInfo(the_lab().timezone))


class LabAwayMiddleware:
    """Answers 503 with a page that says what is missing, where a page needs the document store or the lab file."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass on."""
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Explain a missing document store or a bad lab file; leave everything else, and the API, to others."""
        if request.path.startswith("/api/"):
            return None
        if isinstance(error, LabAwayError | StoreError):
            try:
                return render(request, "octolab/away.html", status=503)
            except lab.LabFileError as bad:
                error = bad
        if isinstance(error, lab.LabFileError):
            log.error("the lab file cannot be used: %s", error)
            # Its reason is not for everybody's eyes, and a page with a request would want the lab's name.
            return HttpResponse(render_to_string("octolab/lab_file.html"), status=503)
        return None
