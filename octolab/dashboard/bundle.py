"""Everything of a job in one archive, made while it is sent: nothing is kept, and no size is too large."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

import yaml
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, StreamingHttpResponse

from analysis import files
from analysis.results import JobResults, job_results
from analysis.tables import as_csv, result_table
from scheduler.models import Event, Job

from .asker import visible_job

_CHUNK = 256 * 1024


@login_required
def everything(request: HttpRequest, job_id: UUID) -> StreamingHttpResponse:
    """Send the job as submitted, its results, its log and its files as a ZIP archive."""
    job = visible_job(request, job_id)
    name = f"{job.pk}{'-simulated' if job.simulated else ''}.zip"
    return StreamingHttpResponse(
        archive(job_results(job)),
        content_type="application/zip",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def archive(results: JobResults) -> Iterator[bytes]:
    """Yield the archive piece by piece; a file that is damaged is named in it and left out."""
    pieces = _Pieces()
    with zipfile.ZipFile(pieces, "w") as zipped:
        missing = []
        for file in files.job_files(results).values():
            try:
                source = files.checked(file).path.open("rb")
            except (files.DamagedFileError, OSError) as error:
                missing.append(f"{file.name}: {error}")
                continue
            with source, zipped.open(_entry(f"files/{file.name}"), "w", force_zip64=True) as entry:
                while part := source.read(_CHUNK):
                    entry.write(part)
                    yield pieces.take()
        for name, text in _texts(results, missing):
            zipped.writestr(_entry(name, zipfile.ZIP_DEFLATED), text)
            yield pieces.take()
    yield pieces.take()


def _texts(results: JobResults, missing: list[str]) -> Iterator[tuple[str, str]]:
    job = results.job
    yield "job.yaml", yaml.safe_dump(job.spec, sort_keys=False, allow_unicode=True)
    yield "results.csv", result_table(results)
    yield "log.csv", _log(job)
    lines = [
        f"Job {job.pk}: {job.name}",
        f"Submitted by {job.owner.username} in the project {job.project.slug},"
        f" {job.submitted_at:%Y-%m-%d %H:%M:%S} UTC.",
        f"State when this was made: {job.state}. {job.state_reason}".rstrip(),
        "SIMULATED: no instrument has measured this." if job.simulated else "",
        "",
        "job.yaml     the job as submitted; it can be submitted again",
        "results.csv  one row for each sample, units in the headings",
        "log.csv      what happened, in lab seconds and UTC",
        "files/       raw and processed arrays, NeXus HDF5",
        *(f"MISSING      {line}" for line in missing),
    ]
    yield "README.txt", "\n".join(lines) + "\n"


def _log(job: Job) -> str:
    names = ("seq", "at", "lab_s", "kind", "subject", "state_from", "state_to", "actor", "reason")
    events = Event.objects.filter(job=job).order_by("seq").values_list(*names)
    rows = [[seq, at.astimezone(UTC).isoformat(), *rest] for seq, at, *rest in events]
    return as_csv([["seq", "at_utc", "lab_s", "kind", "subject", "from", "to", "actor", "reason"], *rows])


def _entry(name: str, how: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, datetime.now(UTC).timetuple()[:6])
    entry.compress_type = how
    entry.external_attr = 0o644 << 16
    return entry


class _Pieces(io.RawIOBase):
    """What was written since it was last taken."""

    def __init__(self) -> None:
        self._held: list[bytes] = []

    def writable(self) -> bool:
        """Tell that it may be written."""
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Hold some bytes."""
        self._held.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """Return what is held, and hold it no longer."""
        taken, self._held = b"".join(self._held), []
        return taken
