"""A lab is backed up while it runs, restored elsewhere, and nothing is ever written over."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from .processes import ROOT


def octolab(verb: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "octolab.stack", verb, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A data folder whose databases somebody has open, with what was written last still beside them."""
    folder = tmp_path / "data"
    (folder / "documents").mkdir(parents=True)
    (folder / "raw" / "2026").mkdir(parents=True)
    (folder / "simulation").mkdir()
    (folder / "audit").mkdir()
    (folder / "audit" / "seen").write_text("as of now")
    (folder / "raw" / "2026" / "a.nxs").write_bytes(b"spectrum")
    (folder / "raw" / "2026" / "b.nxs.part").write_bytes(b"half a spec")
    (folder / "simulation" / "arm").symlink_to("/dev/pts/0")
    writers = [sqlite3.connect(folder / name) for name in ("octolab.sqlite3", "documents/octolab.db")]
    for writer in writers:
        writer.execute("pragma journal_mode=wal")
        writer.execute("create table jobs (name text)")
        writer.execute("insert into jobs values ('the last one')")
        writer.commit()
    yield folder
    for writer in writers:
        writer.close()


def test_what_runs_is_backed_up_and_restored(data: Path, tmp_path: Path) -> None:
    archive, new = tmp_path / "lab.tar", tmp_path / "new"
    made = octolab("backup", archive, "--data", data)
    assert made.returncode == 0, made.stderr
    assert archive.stat().st_mode & 0o777 == 0o600
    restored = octolab("restore", archive, "--data", new)
    assert restored.returncode == 0, restored.stderr
    for name in ("octolab.sqlite3", "documents/octolab.db"):
        with closing(sqlite3.connect(new / name)) as found:
            assert found.execute("select name from jobs").fetchall() == [("the last one",)]
    kept = {path.relative_to(new).as_posix() for path in new.rglob("*") if path.is_file()}
    assert kept == {"octolab.sqlite3", "documents/octolab.db", "raw/2026/a.nxs"}


def test_nothing_is_written_over(data: Path, tmp_path: Path) -> None:
    archive = tmp_path / "lab.tar"
    archive.write_text("another backup")
    assert "is there already" in octolab("backup", archive, "--data", data).stderr
    assert archive.read_text() == "another backup"
    good = tmp_path / "good.tar"
    octolab("backup", good, "--data", data)
    assert "is not empty" in octolab("restore", good, "--data", data).stderr


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_what_is_no_backup_is_refused_and_leaves_nothing(tmp_path: Path, content: bytes | None) -> None:
    archive, new = tmp_path / "lab.tar", tmp_path / "new"
    if content is not None:
        archive.write_bytes(content)
    refused = octolab("restore", archive, "--data", new)
    assert refused.returncode == 1
    assert "octolab: " in refused.stderr
    assert not new.exists()
    assert "is no lab" in octolab("backup", tmp_path / "x.tar", "--data", new).stderr
