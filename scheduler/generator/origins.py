"""Where the samples of a job come from: they are made, taken over from an earlier job, or put in by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from octolab.ids import derived_id
from scheduler.catalogue import Catalogue
from scheduler.jobformat.model import FromPosition, FromSample, JobDocument
from scheduler.jobformat.problems import Path, Problems

from .rows import SampleRow
from .sweep import SampleSpec, expand_samples
from .whereabouts import Whereabouts
from .workflow import Workflow


@dataclass(frozen=True, slots=True)
class Earlier:
    """A sample of an earlier job, where it stands and what is in it."""

    place: str
    index: int | None
    """None as long as it is not made: it is waited for."""
    contents: tuple[dict[str, Any], ...] = ()


@dataclass(slots=True)
class Sample:
    """One sample on its way through the workflow."""

    spec: SampleSpec
    row: SampleRow
    where: Whereabouts = field(default_factory=Whereabouts)
    volume_ul: float = 0.0


class Origins:
    """Finds the samples of one job.

    Parameters
    ----------
    earlier
        Samples of earlier jobs that this one may take over, by id.
    problems
        Gets whatever is wrong.
    """

    def __init__(self, catalogue: Catalogue, job_id: UUID, earlier: Mapping[UUID, Earlier], problems: Problems) -> None:
        self._catalogue = catalogue
        self._job_id = job_id
        self._earlier = earlier
        self._problems = problems
        self.lost = False
        """Whether nobody can tell where one of the samples is."""

    def samples(self, document: JobDocument, workflow: Workflow) -> list[Sample]:
        """Return the samples of a job, each where it is before the first task."""
        if not workflow.takes_samples:
            if document.samples is not None:
                self._problems.add(("samples",), "No task of the workflow takes a sample; leave `samples` out.")
            return []
        samples = []
        for index, spec in enumerate(expand_samples(document, self._problems)):
            row = SampleRow(
                derived_id(self._job_id, f"sample/{index}"), index, spec.name, spec.parameters, {"kind": "made"}, []
            )
            sample = Sample(spec, row)
            if spec.source is not None:
                self._take_over(sample, spec.source, (*spec.path, "from"))
            samples.append(sample)
        self._refuse_shared_sources(samples)
        return samples

    def _take_over(self, sample: Sample, source: FromSample | FromPosition, path: Path) -> None:
        match source:
            case FromSample(sample=sample_id):
                found = self._earlier.get(sample_id)
                if found is None:
                    self.lost = True
                    return
                sample.row.source = {"kind": "sample", "sample": str(sample_id)}
                sample.row.contents = [dict(content) for content in found.contents]
                sample.volume_ul = sum(float(content.get("volume_ul") or 0.0) for content in found.contents)
                if found.index is None:
                    sample.row.source |= {"place": found.place, "awaited": True}
                    sample.where = Whereabouts(exists=True, held=[found.place])
                    return
                place, index = found.place, found.index
            case FromPosition(position=position):
                located = self._locate(position, (*path, "position"))
                if located is None:
                    self.lost = True
                    return
                sample.row.source = {"kind": "loaded", "position": position}
                place, index = located
        sample.row.source |= {"place": place, "index": index}
        sample.where = Whereabouts(exists=True, held=[place])

    def _locate(self, position: str, path: Path) -> tuple[str, int] | None:
        stores = [place for place in self._catalogue.places.values() if place.storage]
        for place in stores:
            if (index := place.index(position)) is not None:
                return place.id, index
        examples = ", ".join(f"`{place.name(0)}` to `{place.name(place.capacity - 1)}`" for place in stores)
        hint = f"Places for samples are {examples}." if stores else "The lab has no place where samples can be put."
        self._problems.add(path, f"There is no place `{position[:60]}`. {hint}")
        return None

    def _refuse_shared_sources(self, samples: Sequence[Sample]) -> None:
        seen: dict[tuple[str, Any], int] = {}
        for sample in samples:
            if (place := sample.row.source.get("place")) is None:
                continue
            source = sample.row.source
            key = (place, source["sample"] if source.get("awaited") else source["index"])
            if key in seen:
                self._problems.add(
                    (*sample.spec.path, "from"), f"Sample {seen[key] + 1} of this job is the same; take another one."
                )
            seen.setdefault(key, sample.row.index)
