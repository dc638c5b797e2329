"""The page that says how good predictions have been."""

from __future__ import annotations

from collections.abc import Sequence

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.safestring import SafeString

from octolab.templatetags.lab import duration
from scheduler.services.predictions import Scored, scored_jobs, scored_tasks, summary

from . import figures

SHOWN = 80
"""The newest so many jobs are drawn."""


@login_required
def predictions(request: HttpRequest) -> HttpResponse:
    """Show how often predicted ranges have held, and by how much predictions were off."""
    starts, finishes = scored_jobs()
    tasks = scored_tasks()
    rows = [("Starts of jobs", summary(starts)), ("Finishes of jobs", summary(finishes))]
    rows += [(name, summary(scores)) for name, scores in sorted(tasks.items())]
    for _, row in rows:
        row["percent"] = None if row["coverage"] is None else 100 * row["coverage"]
    return render(
        request, "octolab/predictions.html", {"rows": rows, "figure": _drawn(finishes[-SHOWN:]), "shown": SHOWN}
    )


def _drawn(scores: Sequence[Scored]) -> SafeString:
    widest_s = max((abs(one.real_s - one.middle_s) for one in scores), default=0.0)
    unit, name = (60.0, "min") if widest_s > 300 else (1.0, "s")
    return figures.outcomes(
        [
            figures.Outcome(
                (one.low_s - one.middle_s) / unit,
                (one.high_s - one.middle_s) / unit,
                (one.real_s - one.middle_s) / unit,
                f"{duration(abs(one.real_s - one.middle_s))} {'later' if one.real_s > one.middle_s else 'earlier'} "
                "than predicted",
            )
            for one in scores
        ],
        f"finish, {name} after the predicted one",
    )
