"""The files of a job: the ones its documents refer to, and one with everything, assembled on request.

A file is only ever found by its name among those that the job's own documents refer to; no path is built from what
somebody asked for.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from . import arrays
from .results import JobResults, Run, file_name

MEDIA_TYPE = "application/x-hdf5"
ASSEMBLED = "job.nxs"
ASSEMBLE_UP_TO_BYTES = 256 * 1024 * 1024


class DamagedFileError(Exception):
    """A file is not what the documents say: gone, or of another size."""


class TooLargeError(Exception):
    """A job has more data than is assembled on request."""


@dataclass(frozen=True)
class JobFile:
    """A file of a job."""

    name: str
    kind: str
    """``raw``, ``processed`` or ``assembled``."""
    relative: str
    """Path below the data root."""
    size_bytes: int
    sha256: str
    """Hexadecimal."""

    @property
    def path(self) -> Path:
        """Where it stands; raises :class:`DamagedFileError` if that is not below the data root."""
        return _below_root(self.relative)

    @property
    def digest(self) -> str:
        """The checksum as a ``Repr-Digest`` field (RFC 9530)."""
        return f"sha-256=:{base64.b64encode(bytes.fromhex(self.sha256)).decode()}:"


def job_files(results: JobResults) -> dict[str, JobFile]:
    """Return the files that a job's documents refer to, by name."""
    files: dict[str, JobFile] = {}
    for run in (*results.runs, *results.analyses):
        for reference in run.arrays.values():
            name = file_name(reference["file"])
            files[name] = JobFile(
                name=name,
                kind=reference["file"].partition("/")[0],
                relative=reference["file"],
                size_bytes=reference["bytes"],
                sha256=reference["sha256"],
            )
    return files


def path_of(reference: Mapping[str, Any]) -> Path:
    """Return where the file of a reference to an array stands.

    Raises
    ------
    DamagedFileError
        If the reference leads out of the data root.
    """
    return _below_root(str(reference["file"]))


def _below_root(relative: str) -> Path:
    root = Path(settings.DATA_ROOT).resolve()
    path = (root / relative).resolve()
    if not path.is_relative_to(root):
        raise DamagedFileError(f"{path.name} is not below the data root")
    return path


def checked(file: JobFile) -> JobFile:
    """Return the file if it is there and has its size.

    Raises
    ------
    DamagedFileError
        Otherwise.
    """
    try:
        size_bytes = file.path.stat().st_size
    except OSError as error:
        raise DamagedFileError(f"{file.name} is missing from the data root: {error.strerror}") from error
    if size_bytes != file.size_bytes:
        raise DamagedFileError(f"{file.name} has {size_bytes} bytes instead of {file.size_bytes}")
    return file


def assembled(results: JobResults) -> JobFile | None:
    """Return the file with all entries of all files of a job, made if need be; None if the job has no files.

    It is kept below ``processed/job@1/`` under the checksum of what it is made of, so that it is made again only
    when the job has measured more.

    Raises
    ------
    TooLargeError
        If the sources are larger than :data:`ASSEMBLE_UP_TO_BYTES`.
    DamagedFileError
        If a source is missing.
    """
    files = job_files(results)
    if not files:
        return None
    total_bytes = sum(file.size_bytes for file in files.values())
    if total_bytes > ASSEMBLE_UP_TO_BYTES:
        raise TooLargeError(f"the job's files have {total_bytes} bytes; fetch them one by one")
    key = hashlib.sha256("".join(sorted(file.sha256 for file in files.values())).encode()).hexdigest()[:16]
    root = Path(settings.DATA_ROOT).resolve()
    relative = arrays.processed_path("job@1", str(results.job.pk), key)
    path = root / relative
    if not path.exists():
        arrays.make_directories(root, path.parent)
        arrays.assemble(path, _sources(results, files), simulated=results.job.simulated)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return JobFile(ASSEMBLED, "assembled", str(relative), file.tell(), digest)


def _sources(results: JobResults, files: dict[str, JobFile]) -> list[tuple[Path, str, str]]:
    """Name each entry after sample and task; the last run of a sample that measured something comes first."""
    sources: list[tuple[Path, str, str]] = []
    seen: set[tuple[str, str]] = set()
    taken: set[str] = set()
    for run in sorted((*results.runs, *results.analyses), key=lambda run: not run.counts):
        for reference in run.arrays.values():
            entry = reference["path"].split("/")[1]
            file = checked(files[file_name(reference["file"])])
            if (file.name, entry) not in seen:
                seen.add((file.name, entry))
                sources.append((file.path, entry, _entry_name(run, taken)))
    return sources


def _entry_name(run: Run, taken: set[str]) -> str:
    parts = [run.sample.name if run.sample else "", run.task_key, run.document.get("routine", "")]
    text = "_".join(part for part in parts if part).replace("µ", "u")
    name = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_") or "entry"
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    taken.add(free)
    return free
