"""Steps that are longer than the people who do them are ever there at a stretch."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta

from modules.contract.hours import Hours
from scheduler.catalogue import Catalogue
from scheduler.generator import Expansion
from scheduler.jobformat.problems import Path, Problems
from scheduler.services.exclusions import written

_LOOK = timedelta(days=15)
"""Hours repeat each week; a fortnight and a day holds every stretch that is shorter than a week whole."""


def check_hours(expansion: Expansion, catalogue: Catalogue, problems: Problems) -> None:
    """Note each step that needs somebody for longer than that person's opening hours."""
    longest_s = {
        person: stretch_s
        for person, hours in catalogue.lab.duty.items()
        if hours is not None and (stretch_s := _longest_s(hours)) is not None
    }
    if not longest_s:
        return
    for step in expansion.steps:
        for person in step.devices.keys() & longest_s.keys():
            if step.dormant or step.duration_s <= longest_s[person]:
                continue
            hours_text = next(one.hours for one in catalogue.lab.people if one.id == person)
            path: Path = ("workflow", step.task.index) if step.task.index < 1000 else ("workflow",)
            problems.add(
                path,
                f"This keeps `{person}` busy for {written(step.duration_s)}, but `{person}` is there for at most "
                f"{written(longest_s[person])} at a stretch ({hours_text}). Split the task, or ask somebody else.",
            )


def _longest_s(hours: Hours) -> float | None:
    """Return the longest time (lab seconds) that it is open at a stretch; None if it never closes."""
    # A week without a clock change: what is longer by one hour once a year is nothing to plan with.
    since = datetime(2026, 1, 5, tzinfo=hours.zone)
    closed = list(hours.closed(since, since + _LOOK))
    gaps = [(after[0] - before[1]).total_seconds() for before, after in itertools.pairwise(closed)]
    return max(gaps, default=None)
