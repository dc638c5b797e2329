"""Where a job's samples come from: places that are free to load, and samples of earlier jobs."""

from __future__ import annotations

from uuid import UUID

from scheduler.catalogue import Catalogue
from scheduler.generator import Earlier, Expansion, SampleRow
from scheduler.jobformat.model import FromSample, JobDocument
from scheduler.jobformat.problems import Path, Problems
from scheduler.models import Place, Sample
from scheduler.states import SAMPLE_FINAL, SampleState
from users.models import Project, User, of_visible_projects

_AT_REST = SAMPLE_FINAL | {SampleState.PARKED}


def earlier_samples(document: JobDocument, catalogue: Catalogue, user: User, problems: Problems) -> dict[UUID, Earlier]:
    """Return the earlier samples that the job refers to, and note those that it cannot have."""
    wanted: dict[UUID, Path] = {}
    if isinstance(document.samples, tuple):
        for index, entry in enumerate(document.samples):
            if isinstance(entry.from_, FromSample):
                wanted.setdefault(entry.from_.sample, ("samples", index, "from", "sample"))
    if not wanted:
        return {}
    visible = Sample.objects.filter(of_visible_projects(user, "job__project__"), id__in=wanted).prefetch_related(
        "places"
    )
    rows = {row.id: row for row in visible}
    found: dict[UUID, Earlier] = {}
    for sample_id, path in wanted.items():
        row = rows.get(sample_id)
        if row is None:
            problems.add(
                path, "There is no such sample among yours. Take the id from the page of the job that made it."
            )
            continue
        stores = [
            p for p in row.places.all() if p.resource in catalogue.places and catalogue.places[p.resource].storage
        ]
        if row.state not in _AT_REST:
            store = _will_be_stored(row, catalogue)
            if store is None:
                problems.add(path, f"This sample is still {row.state}, and its job does not store it.")
            else:
                # It is waited for; where it will stand, and what will be in it, is known when it is there.
                found[sample_id] = Earlier(store, None)
        elif not stores or len(row.places.all()) > len(stores):
            problems.add(path, "This sample is not in the storage any more: it was collected, or another job has it.")
        else:
            found[sample_id] = Earlier(stores[0].resource, stores[0].index, tuple(row.contents))
    return found


def _will_be_stored(sample: Sample, catalogue: Catalogue) -> str | None:
    """Return the storage in which a sample will stand once its job is done with it, None if it is nowhere kept."""
    stores = {place for place, kind in catalogue.places.items() if kind.storage}
    here = [place.resource for place in sample.places.all() if place.resource in stores]
    steps = sample.step_members.filter(step__dormant=False).order_by("step__index")
    coming = [place for takes in steps.values_list("step__takes", flat=True) for place in takes if place in stores]
    return next(iter([*here, *coming]), None)


def check_places(expansion: Expansion, catalogue: Catalogue, problems: Problems) -> None:
    """Note places that are taken, and storage that is too full for the job's new samples."""
    for sample in expansion.samples:
        if sample.source["kind"] == "loaded" and Place.objects.filter(
            resource=sample.source["place"], index=sample.source["index"], sample__isnull=False
        ):
            problems.add(*_taken(sample))
    needed: dict[str, set[UUID]] = {}
    for step in expansion.steps:
        for place in step.takes:
            if place in catalogue.places and catalogue.places[place].storage:
                needed.setdefault(place, set()).update(sample.id for sample in step.task.samples)
    for place, samples in needed.items():
        free = Place.objects.filter(resource=place, sample__isnull=True).count()
        if free < len(samples):
            problems.add(
                ("samples",),
                f"The job needs {len(samples)} places of `{place}`, but only {free} are free. Take stored samples "
                f"away and tell it (`octolab storage` lists them, `octolab collect SAMPLE` frees a place), or make "
                f"fewer samples.",
            )


def claim_places(expansion: Expansion, lab_s: float, problems: Problems) -> None:
    """Move the places of loaded and earlier samples to the job's; call it in the transaction that inserts them.

    One conditional update each decides between two jobs that want the same.
    """
    for sample in expansion.samples:
        source = sample.source
        if source["kind"] not in ("loaded", "sample") or source.get("awaited"):
            continue
        place = Place.objects.filter(resource=source["place"], index=source["index"])
        if source["kind"] == "sample":
            moved = place.filter(sample_id=source["sample"]).update(sample_id=sample.id)
        else:
            moved = place.filter(sample__isnull=True).update(sample_id=sample.id, since_lab_s=lab_s)
        if not moved:
            problems.add(*_taken(sample))


def _taken(sample: SampleRow) -> tuple[Path, str]:
    path: Path = ("samples", sample.index, "from")
    if sample.source["kind"] == "sample":
        return path, "Another job has taken this sample meanwhile."
    return path, f"The place `{sample.source['position']}` is taken. Choose a free one, or have its sample collected."


def member_names(project: Project) -> set[str]:
    """Return the user names of a project's active members."""
    return set(project.memberships.filter(user__is_active=True).values_list("user__username", flat=True))
