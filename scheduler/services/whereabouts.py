"""Where a sample is and was, and what went into it: read from its row, its steps and the event log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from scheduler import catalogue
from scheduler.models import Event, Place, Sample, Step, StepMember


@dataclass(frozen=True)
class Stay:
    """A stretch of time in which a sample held a place.

    Attributes
    ----------
    place
        As it is named in the lab.
    since_lab_s, until_lab_s
        Lab seconds; ``until`` is None as long as it holds the place.
    storage
        Whether samples stay there after their jobs.
    step
        What brought it there, if a step did.
    """

    place: str
    since_lab_s: float
    until_lab_s: float | None
    storage: bool
    step: Step | None


def path_of(sample: Sample) -> list[Stay]:
    """Return all places that a sample held, the earliest first."""
    held: dict[tuple[str, int], tuple[float, str | None]] = {}
    found: list[tuple[str, int, float, float | None, str | None]] = []
    if "index" in sample.source:
        held[sample.source["place"], int(sample.source["index"])] = (sample.job.submitted_lab_s, None)
    events = Event.objects.filter(kind="place", subject=str(sample.pk)).order_by("seq")
    for event in events.values_list("state_to", "lab_s", "data"):
        what, lab_s, data = event
        key = (str(data["place"]), int(data["index"]))
        if what == "taken":
            held[key] = (lab_s, data.get("step"))
        elif key in held:
            since_s, step = held.pop(key)
            found.append((*key, since_s, lab_s, step))
    now = set(Place.objects.filter(sample=sample).values_list("resource", "index"))
    found += [(*key, since_s, None, step) for key, (since_s, step) in held.items() if key in now]
    steps = {str(step.pk): step for step in Step.objects.filter(pk__in=[row[4] for row in found if row[4]])}
    kinds = catalogue.current().places
    stays = []
    for resource, index, since_s, until_s, step_id in found:
        kind = kinds.get(resource)
        name = kind.name(index) if kind is not None else f"{resource}.{index + 1}"
        storage = kind is not None and kind.storage
        stays.append(Stay(name, since_s, until_s, storage, steps.get(step_id or "")))
    return sorted(stays, key=lambda stay: (stay.since_lab_s, stay.place))


def stands(stays: list[Stay]) -> str:
    """Return where it stands now: the place that it took last; the storage place that is kept for it comes last."""
    now = [stay for stay in stays if stay.until_lab_s is None]
    return next((stay.place for stay in sorted(now, key=lambda s: (s.storage, -s.since_lab_s))), "")


def holding(samples: QuerySet[Sample], wanted: Mapping[str, str]) -> Iterator[Sample]:
    """Yield the samples into which something went that is as wanted (``lot``, ``stock``, ``solution``)."""
    for text in wanted.values():
        # All databases can look for a plain text; whether it stands in the right place is looked at here.
        if text.isascii() and text.isprintable() and not set(text) & set('"\\/'):
            samples = samples.filter(contents__icontains=text)
    for sample in samples.iterator(chunk_size=200):
        if any(all(entry.get(name) == text for name, text in wanted.items()) for entry in sample.contents):
            yield sample


def history_of(sample: Sample) -> list[StepMember]:
    """Return what was done and is to be done with a sample, in the order of its workflow."""
    members = sample.step_members.select_related("step", "task").order_by("step__index")
    return [row for row in members if not row.step.dormant or row.step.started_lab_s is not None]


def contents_of(sample: Sample) -> list[dict[str, Any]]:
    """Return what went into a sample, oldest first, each with how much is in it then (µL)."""
    total_ul, found = 0.0, []
    for entry in sample.contents:
        total_ul += float(entry.get("volume_ul") or 0.0)
        found.append({**entry, "total_ul": total_ul})
    return found
