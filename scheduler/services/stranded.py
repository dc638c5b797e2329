"""Samples that nobody puts away any more: they stand where others have to work, until a person takes them out."""

from __future__ import annotations

from scheduler import catalogue
from scheduler.models import Place, StepMember
from scheduler.states import SAMPLE_FINAL, STEP_FINAL, JobState


def stranded_samples() -> list[Place]:
    """Return the working places that have to be emptied by hand, with their samples, the oldest first."""
    kinds = catalogue.current().places
    rows = Place.objects.filter(sample__job__state=JobState.NEEDS_OPERATOR, sample__state__in=SAMPLE_FINAL)
    rows = rows.select_related("sample__job__owner").order_by("since_lab_s", "pk")
    working = [row for row in rows if row.resource in kinds and not kinds[row.resource].storage]
    if not working:
        return []
    steps = StepMember.objects.filter(sample__in=[row.sample_id for row in working], step__dormant=False)
    in_hand = set(steps.exclude(step__state__in=STEP_FINAL).values_list("sample_id", flat=True))
    return [row for row in working if row.sample_id not in in_hand]
