"""A full disk costs lines of the log, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from octolab.stack.logs import ProcessLog


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_is_read_on_while_the_disk_is_full(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "host.log"
    path.symlink_to("/dev/full")
    log = ProcessLog(path)
    log.write(b"one\n" * 10_000)
    log.write(b"the last words\n")
    assert log.tail().endswith("the last words")
    log.close()
    assert capfd.readouterr().err == ""
