"""The page of a sample: where it is and was, and what went into it."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from scheduler.models import Job, Sample
from scheduler.services.whereabouts import Stay, contents_of, history_of, path_of, stands

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
        "history": history_of(row),
    }
    return render(request, "octolab/sample.html", context)


def _rows(path: list[Stay], now_s: float) -> list[Row]:
    """Return a row for each place, in the order in which the sample came there."""
    bars: dict[str, list[Bar]] = {}
    for stay in path:
        css = "s7" if stay.storage else f"s{len(bars) % 7}" if stay.place not in bars else bars[stay.place][0].css
        ends_s = now_s if stay.until_lab_s is None else stay.until_lab_s
        step = f", brought by {stay.step.task_name} · {stay.step.name}" if stay.step is not None else ""
        bars.setdefault(stay.place, []).append(Bar(stay.since_lab_s, ends_s, css, f"{stay.place}{step}"))
    return [Row(place, shown) for place, shown in bars.items()]
