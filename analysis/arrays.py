"""Arrays: one NeXus HDF5 file per attempt. Hosts write it, the server reads it; no Django.

Layout of a file, for a member (one run: a task on a sample) that measured ``absorbance`` over ``wavelength``::

    /                       NXroot        @default="entry" @simulated @schema_version @creator
      entry                 NXentry       @default="absorbance"; title, start_time, end_time, definition, run_cycle
        absorbance          NXdata        @signal="absorbance" @axes=["wavelength"]
          absorbance        data, @units, @long_name
          wavelength        axis, @units, @long_name
        sample              NXsample      name, identifier
        instrument          NXinstrument  name (the module instance)
        user                NXuser        name
        octolab             NXcollection  job, sample, task, attempt, run, project, simulated, versions

A file with several members has ``entry_1``, ``entry_2`` … A file is built in memory, because HDF5 crashes the whole
process when the disk is full; so an attempt's arrays have to fit into the host's memory. At the end it is written
under the name ``….nxs.part``, synced, and renamed; what ends in ``.part`` is never a result.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

# numpy and h5py are imported where they are used: the web holds neither until somebody asks for an array.

if TYPE_CHECKING:
    import h5py
    from numpy.typing import ArrayLike, NDArray

SCHEMA_VERSION = 1
DEFINITION = "octolab_run"
PART = ".part"
COMPRESS_FROM_BYTES = 64 * 1024

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ID = re.compile(r"[A-Za-z0-9_.@/-]+")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

Reference = dict[str, Any]
"""``{"file": path below the data root, "sha256", "bytes", "path": path in the file, "dtype", "shape", "unit",
"axes": {axis name: unit}}``"""


class DiskFullError(OSError):
    """The array file could not be written for want of space."""


@dataclass(frozen=True)
class Run:
    """What one entry of a file belongs to."""

    run_uid: str
    task_id: str
    sample_id: str | None = None
    sample_name: str = ""
    title: str = ""


@dataclass(frozen=True)
class Metadata:
    """What a file belongs to. All of it is written by octolab, none of it taken from a user's text unchecked."""

    job_id: str
    attempt_id: str
    module: str
    task: str
    owner: str
    project: str
    simulated: bool
    started_at: datetime
    runs: tuple[Run, ...]
    job_name: str = ""
    process: Mapping[str, Any] = field(default_factory=dict)
    """For processed files: ``program``, ``version`` and parameters of the routine."""


def raw_path(job_id: str, attempt_id: str, at: datetime) -> PurePosixPath:
    """Return where an attempt's file stands below the data root."""
    name = attempt_id.replace("/", "-")
    return PurePosixPath("raw", f"{at:%Y}", f"{at:%m}", _checked_id(job_id), f"{_checked_id(name)}.nxs")


def discard_unfinished(root: Path | str, attempt_ids: Iterable[str]) -> list[Path]:
    """Remove the ``.part`` files of attempts that have ended while they wrote; return what was removed.

    Only for whoever knows that nobody writes them any more.
    """
    names = {f"{_checked_id(attempt_id.replace('/', '-'))}.nxs{PART}" for attempt_id in attempt_ids}
    found = [path for path in Path(root).glob(f"raw/*/*/*/*{PART}") if path.name in names] if names else []
    for path in found:
        path.unlink(missing_ok=True)
    return found


def processed_path(routine: str, job_id: str, name: str) -> PurePosixPath:
    """Return where a routine (``spectrum@1.0``) puts a job's file of that name, below the data root."""
    return PurePosixPath("processed", _checked_id(routine), _checked_id(job_id), f"{_checked_id(name)}.nxs")


class ArrayFile:
    """A new file of arrays. Use it as a context manager, or call :meth:`close` or :meth:`discard` in the end.

    Parameters
    ----------
    root
        The data root; references are relative to it.
    path
        Where the file is to stand below the root, see :func:`raw_path`.
    metadata
        What the file belongs to; one entry per run.

    Raises
    ------
    FileExistsError
        If the file is there already: results are never rewritten.
    """

    def __init__(self, root: Path | str, path: PurePosixPath | str, metadata: Metadata) -> None:
        if not metadata.runs:
            raise ValueError("an array file needs at least one run")
        self._root = Path(root)
        self._relative = PurePosixPath(path)
        self.path = _inside(self._root, self._relative)
        if self.path.exists():
            raise FileExistsError(f"{self._relative} is there already; results are never rewritten")
        self._metadata = metadata
        names = ["entry"] if len(metadata.runs) == 1 else [f"entry_{n}" for n in range(1, len(metadata.runs) + 1)]
        self._entries = {run.run_uid: name for run, name in zip(metadata.runs, names, strict=True)}
        self._references: dict[str, dict[str, Reference]] = {}
        self._image = io.BytesIO()
        self._file: h5py.File | None = None

    def __enter__(self) -> ArrayFile:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def add(
        self,
        name: str,
        data: ArrayLike,
        unit: str,
        axes: Mapping[str, tuple[ArrayLike, str]] | None = None,
        member: str | None = None,
    ) -> None:
        """Write an array.

        Parameters
        ----------
        name
            An identifier, such as ``absorbance``; once per member.
        data
            Real numbers or booleans, any shape.
        unit
            Unit of the data; ``""`` if it has none.
        axes
            Axis name → (values, unit), in the order of the data's dimensions; trailing dimensions may be left out.
        member
            ``run_uid`` of the run that it belongs to; None: it belongs to all runs of the file, and is kept once.

        Raises
        ------
        ValueError
            If names, shapes or types do not fit.
        """
        if member is not None and member not in self._entries:
            raise ValueError(f"{member!r} is not a run of this file")
        run_uids = list(self._entries) if member is None else [member]
        values = _numbers(name, data)
        axis_values = {axis: (_numbers(axis, points), axis_unit) for axis, (points, axis_unit) in (axes or {}).items()}
        for text in (name, *axis_values):
            if not _NAME.fullmatch(text):
                raise ValueError(f"{text!r} cannot be the name of an array: use letters, digits and underscores")
        if name in axis_values or any(name in self._references.get(run_uid, {}) for run_uid in run_uids):
            raise ValueError(f"array {name!r} is there already")
        _check_axes(name, values, axis_values)
        if self._file is None:
            if self._references:
                raise ValueError(f"{self._relative} is closed")
            self._file = self._create()
        written: h5py.Group | None = None
        for run_uid in run_uids:
            entry = self._file[self._entries[run_uid]]
            if written is None:
                written = _write_data(entry, name, values, unit, axis_values)
            else:
                entry[name] = written
            entry.attrs.setdefault("default", name)
            self._file.attrs.setdefault("default", self._entries[run_uid])
            self._references.setdefault(run_uid, {})[name] = {
                "path": f"{entry.name}/{name}/{name}",
                "dtype": str(values.dtype),
                "shape": list(values.shape),
                "unit": unit,
                "axes": {axis: axis_unit for axis, (_, axis_unit) in axis_values.items()},
            }

    def close(self, ended_at: datetime | None = None) -> dict[str, dict[str, Reference]]:
        """Finish the file: sync, rename, sync its directory.

        Returns
        -------
        dict
            run_uid → array name → reference. Empty, and no file, if nothing was added.

        Raises
        ------
        DiskFullError
            If there is no space. Nothing of the file is left, and it may be closed again later.
        """
        if not self._references:
            return {}
        if self._file is not None:
            for entry in self._entries.values():
                self._file[entry]["end_time"] = _iso(ended_at or datetime.now(UTC))
            self._file.close()
            self._file = None
        make_directories(self._root, self.path.parent)
        digest = _write(self.path, self._image)
        whole = {"file": str(self._relative), "sha256": digest, "bytes": self._image.getbuffer().nbytes}
        return {uid: {name: whole | ref for name, ref in refs.items()} for uid, refs in self._references.items()}

    def discard(self) -> None:
        """Write nothing."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._references.clear()

    def _create(self) -> h5py.File:
        import h5py

        file = h5py.File(self._image, "w")
        meta = self._metadata
        root_attributes(file, meta.simulated)
        for run in meta.runs:
            entry = _group(file, self._entries[run.run_uid], "NXentry")
            title = run.title or f"{meta.module}.{meta.task} of {run.sample_name or meta.job_name or meta.job_id}"
            entry["title"] = f"{title} (simulated)" if meta.simulated else title
            entry["start_time"] = _iso(meta.started_at)
            entry["definition"] = DEFINITION
            entry["definition"].attrs["version"] = str(SCHEMA_VERSION)
            entry["entry_identifier"] = run.run_uid
            sample = _group(entry, "sample", "NXsample")
            sample["name"] = run.sample_name
            if run.sample_id:
                sample["identifier"] = run.sample_id
            _group(entry, "instrument", "NXinstrument")["name"] = meta.module
            _group(entry, "user", "NXuser")["name"] = meta.owner
            about = _group(entry, "octolab", "NXcollection")
            for key, value in {
                "job_id": meta.job_id,
                "job_name": meta.job_name,
                "sample_id": run.sample_id or "",
                "task_id": run.task_id,
                "module": meta.module,
                "task": meta.task,
                "attempt_id": meta.attempt_id,
                "run_uid": run.run_uid,
                "owner": meta.owner,
                "project": meta.project,
                "simulated": meta.simulated,
                "octolab_version": octolab_version(),
                "schema_version": SCHEMA_VERSION,
            }.items():
                about[key] = value
            if meta.process:
                process = _group(entry, "process", "NXprocess")
                for key, value in meta.process.items():
                    process[key] = value
        return file


@dataclass(frozen=True)
class Slice:
    """A part of an array, with what is needed to understand it."""

    name: str
    unit: str
    shape: tuple[int, ...]
    """Of the whole array."""
    values: NDArray[Any]
    axes: Mapping[str, tuple[NDArray[Any], str]]
    """Axis name → (values, unit) in the order of the dimensions; the first is sliced like the data."""
    start: int
    stop: int
    step: int


def read_slice(path: Path, dataset: str, start: int = 0, stop: int | None = None, step: int = 1) -> Slice:
    """Read a part of an array: ``[start:stop:step]`` along its first dimension.

    Raises
    ------
    FileNotFoundError, KeyError
        If the file or the array in it is not there.
    """
    import h5py
    import numpy as np

    with h5py.File(path, "r") as file:
        found = file[dataset]
        if not isinstance(found, h5py.Dataset):
            raise KeyError(dataset)
        start, stop, step = slice(start, stop, step).indices(found.shape[0] if found.shape else 1)
        part = slice(start, stop, step)
        values = found[part] if found.shape else np.asarray(found[()])
        axis_names = [axis for axis in found.parent.attrs.get("axes", []) if axis != "."]
        axes = {}
        for index, axis in enumerate(axis_names):
            points = found.parent[axis]
            axes[str(axis)] = (points[part] if index == 0 else points[()], str(points.attrs.get("units", "")))
        return Slice(
            name=dataset.rpartition("/")[2],
            unit=str(found.attrs.get("units", "")),
            shape=tuple(found.shape),
            values=values,
            axes=axes,
            start=start,
            stop=stop,
            step=step,
        )


def assemble(path: Path, sources: Sequence[tuple[Path, str, str]], simulated: bool) -> None:
    """Copy entries of several files into one new file, which appears only when it is complete.

    Parameters
    ----------
    sources
        (file, entry in it, name of the entry in the new file). The first becomes the default.
    """
    import h5py

    image = io.BytesIO()
    with h5py.File(image, "w") as target:
        root_attributes(target, simulated)
        for source_path, entry, name in sources:
            with h5py.File(source_path, "r") as source:
                source.copy(entry, target, name=name)
            target.attrs.setdefault("default", name)
    # Two may assemble the same at the same time.
    _write(path, image, path.with_name(f"{path.name}.{secrets.token_hex(4)}{PART}"))


def root_attributes(file: h5py.File, simulated: bool) -> None:
    """Say on the root what kind of file this is."""
    import h5py

    file.attrs["NX_class"] = "NXroot"
    file.attrs["creator"] = "octolab"
    file.attrs["creator_version"] = octolab_version()
    file.attrs["file_time"] = _iso(datetime.now(UTC))
    file.attrs["HDF5_Version"] = h5py.version.hdf5_version
    file.attrs["h5py_version"] = h5py.version.version
    file.attrs["simulated"] = simulated
    file.attrs["schema_version"] = SCHEMA_VERSION


def octolab_version() -> str:
    """Return the installed version of octolab."""
    try:
        return version("octolab")
    except PackageNotFoundError:
        return "unreleased"


def _write(path: Path, image: io.BytesIO, part: Path | None = None) -> str:
    """Write a file that appears only when it is complete and on the disk; return its SHA-256."""
    part = part or path.with_name(path.name + PART)
    content = image.getbuffer()
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        sync_directory(path.parent)
    except OSError as error:
        part.unlink(missing_ok=True)
        if error.errno in _FULL:
            raise DiskFullError(
                errno.ENOSPC, f"no space left to write {path} ({content.nbytes} bytes): free some space, then repeat"
            ) from error
        raise
    return hashlib.sha256(content).hexdigest()


def sync_directory(path: Path) -> None:
    """Bring a directory's entries to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directories(root: Path, path: Path) -> None:
    """Create a directory below the root, so that it survives a loss of power."""
    missing = [path, *path.parents]
    missing = [directory for directory in missing[: missing.index(root)] if not directory.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for directory in missing:
        sync_directory(directory.parent)


def _inside(root: Path, relative: PurePosixPath) -> Path:
    if relative.is_absolute() or ".." in relative.parts or not relative.parts:
        raise ValueError(f"{relative} is not a path below the data root")
    return root.joinpath(*relative.parts)


def _checked_id(text: str) -> str:
    if not _ID.fullmatch(text) or "/" in text or text.startswith("."):
        raise ValueError(f"{text!r} cannot be part of a file's name")
    return text


def _numbers(name: str, data: ArrayLike) -> NDArray[Any]:
    import numpy as np

    values = np.asarray(data)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"array {name!r} holds {values.dtype}; only real numbers and booleans can be stored")
    return values


def _check_axes(name: str, values: NDArray[Any], axes: Mapping[str, tuple[NDArray[Any], str]]) -> None:
    if len(axes) > values.ndim:
        raise ValueError(f"array {name!r} has {values.ndim} dimensions, but {len(axes)} axes are given")
    for index, (axis, (points, _)) in enumerate(axes.items()):
        if points.shape != (values.shape[index],):
            raise ValueError(
                f"axis {axis!r} of {name!r} has shape {points.shape}, "
                f"but dimension {index} of the data has {values.shape[index]} points"
            )


def _group(parent: h5py.Group, name: str, nx_class: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["NX_class"] = nx_class
    return group


def _write_data(
    entry: h5py.Group, name: str, values: NDArray[Any], unit: str, axes: Mapping[str, tuple[NDArray[Any], str]]
) -> h5py.Group:
    group = _group(entry, name, "NXdata")
    group.attrs["signal"] = name
    _dataset(group, name, values, unit)
    for index, (axis, (points, axis_unit)) in enumerate(axes.items()):
        _dataset(group, axis, points, axis_unit)
        group.attrs[f"{axis}_indices"] = index
    if values.ndim:
        group.attrs["axes"] = [*axes, *["."] * (values.ndim - len(axes))]
    return group


def _dataset(group: h5py.Group, name: str, values: NDArray[Any], unit: str) -> None:
    compression = {"compression": "gzip", "shuffle": True} if values.nbytes >= COMPRESS_FROM_BYTES else {}
    dataset = group.create_dataset(name, data=values, **compression)
    dataset.attrs["units"] = unit
    dataset.attrs["long_name"] = f"{name.replace('_', ' ')} ({unit})" if unit else name.replace("_", " ")


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()
