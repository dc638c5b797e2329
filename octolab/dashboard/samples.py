"""The page of a sample: where it is and was, and what went into it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from scheduler.models import Job, Sample, StepMember
from scheduler.services.whereabouts import Stay, contents_of, history_of, path_of, stands

from . import words
from .asker import asker
from .figures import Bar, Row, timeline
from .plan import axis_text, midnight_s
from .thelab import lab_clock


@login_required
def sample(request: HttpRequest, sample_id: UUID) -> HttpResponse:
    """Show one sample."""
    rows = Sample.objects.filter(job__in=Job.objects.visible_to(asker(request))).select_related("job", "job__owner")
    row = get_object_or_404(rows, pk=sample_id)
    path = path_of(row)
    now_s = lab_clock().now()
    context = {
        "sample": row,
        "stands": stands(path),
        "path": path,
        "picture": timeline(_rows(path, now_s), now_s, midnight_s(now_s), axis_text),
        "contents": contents_of(row),
        "history": _history(row),
    }
    return render(request, "octolab/sample.html", context)


def _rows(path: list[Stay], now_s: float) -> list[Row]:
    """Return a row for each place, in the order in which the sample came there."""
    bars: dict[str, list[Bar]] = {}
    for stay in path:
        css = "s7" if stay.storage else f"s{len(bars) % 7}" if stay.place not in bars else bars[stay.place][0].css
        ends_s = now_s if stay.until_lab_s is None else stay.until_lab_s
        step = f", brought by {words.step(stay.step)}" if stay.step is not None else ""
        bars.setdefault(stay.place, []).append(Bar(stay.since_lab_s, ends_s, css, f"{words.place(stay.place)}{step}"))
    return [Row(words.place(place), shown) for place, shown in bars.items()]


def _history(sample: Sample) -> list[dict[str, Any]]:
    """Return what was done, each task's results at its last step."""
    rows = history_of(sample)
    last = {row.task_id: row.pk for row in rows}
    return [
        {"step": row.step, "error": row.error, "results": _results(row) if last[row.task_id] == row.pk else []}
        for row in rows
    ]


def _results(row: StepMember) -> list[tuple[str, Any, str]]:
    """Return name, value and unit of what a task found for this sample; of several samples, each has its own."""
    found = row.task.results or {}
    own = found.get(str(row.sample_id))
    told = []
    for name, value in (own if isinstance(own, dict) else found).items():
        if not isinstance(value, dict):  # of another sample
            title, unit = words.result(row.step, name)
            told.append((title, value, unit))
    return told
