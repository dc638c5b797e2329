"""Backing up a stack's data folder into one archive while it runs, and restoring it.

The relational copy is taken first and the documents after it: an attempt that the server does not know yet is
adopted at the next start, one that is missing would have to be decided by an operator. Measured data are never
rewritten, so they come last. Redis holds the truth about nothing; what `audit verify` has seen (`audit/`) would
make a restored log look cut off.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from .options import REPOSITORY

RELATIONAL = "octolab.sqlite3"
DOCUMENTS = "documents"
LAB = (RELATIONAL, DOCUMENTS, "raw")
"""One of them at least is in every data folder that was used."""
LEFT_OUT = {"audit", "logs", "redis", "running.json", "stack.lock", "static"}
UNFINISHED = (".part", ".new", "-wal", "-shm", "-journal", ".pid")
ELSEWHERE = {
    "OCTOLAB_DATABASE_URL": "the database: back it up BEFORE this archive, with pg_dump",
    "OCTOLAB_MONGO_URL": "the documents: back them up after the database, with mongodump",
}


def backup(arguments: Sequence[str]) -> int:
    """``deploy/backup FILE``: write the archive; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="deploy/backup",
        description="Write everything of a lab that is kept on this machine into one archive; the stack may run on.",
    )
    parser.add_argument("archive", type=Path, metavar="FILE", help="the archive to write, such as lab-2026-12-01.tar")
    _with_data(parser)
    chosen = parser.parse_args(arguments)
    archive, data = chosen.archive, chosen.data
    if not any((data / part).exists() for part in LAB):
        return _refuse(f"in {data} is no lab: name its data folder with --data")
    if archive.exists():
        return _refuse(f"{archive} is there already; nothing was written over")
    unfinished = archive.with_name(f".{archive.name}.{os.getpid()}")
    try:
        # The archive holds secrets, as the folder does.
        with (
            os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
            tarfile.open(fileobj=file, mode="w") as tar,
        ):
            for path in _files(data):
                _add(tar, path, path.relative_to(data).as_posix())
        unfinished.rename(archive)
    except (OSError, sqlite3.Error) as error:
        unfinished.unlink(missing_ok=True)
        return _refuse(f"nothing was kept, because {error}")
    print(f"{archive}: {archive.stat().st_size / 1e6:.1f} MB. It holds secrets: keep it where only you can read it.")
    for variable, what in ELSEWHERE.items():
        if os.environ.get(variable):
            print(f"Not in it, since {variable} is set: {what}.")
    return 0


def restore(arguments: Sequence[str]) -> int:
    """``deploy/restore FILE --data DIR``: make a data folder from an archive; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="deploy/restore",
        description="Make a lab's data folder from an archive of deploy/backup. The folder must be new or empty.",
    )
    parser.add_argument("archive", type=Path, metavar="FILE")
    _with_data(parser)
    chosen = parser.parse_args(arguments)
    archive, data = chosen.archive, chosen.data
    if data.exists() and any(data.iterdir()):
        return _refuse(f"{data} is not empty: move it away, or name another folder with --data")
    try:
        with tarfile.open(archive) as tar:
            if not {name.partition("/")[0] for name in tar.getnames()} & set(LAB):
                return _refuse(f"{archive} is no archive of deploy/backup")
            data.mkdir(mode=0o700, parents=True, exist_ok=True)
            tar.extractall(data, filter="data")
    except (OSError, tarfile.TarError) as error:
        if data.exists():
            shutil.rmtree(data)
        return _refuse(f"nothing was restored, because {archive} cannot be read: {error}")
    print(f"{data} is as it was. Start with: {REPOSITORY / 'deploy' / 'up'} --no-demo --data {data}")
    for variable, what in ELSEWHERE.items():
        if os.environ.get(variable):
            print(f"{variable} is set: restore {what.partition(':')[0]} before that.")
    return 0


def _files(data: Path) -> Iterator[Path]:
    """Return what is to be kept, in the order in which it has to be read."""
    first = (data / RELATIONAL, data / DOCUMENTS)
    rest = sorted(path for path in data.iterdir() if path not in first and path.name not in LEFT_OUT)
    for part in (*first, *rest):
        yield from sorted(part.rglob("*")) if part.is_dir() else [part]


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    # Links and sockets of the simulation are made anew at every start.
    if path.is_symlink() or not path.is_file() or name.endswith(UNFINISHED):
        return
    if path.suffix not in (".db", ".sqlite3"):
        tar.add(path, name, recursive=False)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        with (
            closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as found,
            closing(sqlite3.connect(copy)) as kept,
        ):
            found.backup(kept)
        tar.add(copy, name)


def _with_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=lambda text: Path(os.path.abspath(text)),
        metavar="DIR",
        default=os.environ.get("OCTOLAB_DATA_ROOT", str(REPOSITORY / "var")),
        help="the lab's data folder (default: var/)",
    )


def _refuse(why: str) -> int:
    print(f"octolab: {why}", file=sys.stderr)
    return 1
