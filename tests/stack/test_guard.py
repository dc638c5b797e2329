"""A supervisor that is killed leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from .processes import ROOT, alive


def test_a_killed_supervisor_leaves_nothing(tmp_path: Path) -> None:
    script = f"""
import asyncio
from pathlib import Path
from octolab.stack.supervisor import Supervisor
from tests.stack.processes import worker

async def main():
    supervisor = Supervisor(Path({str(tmp_path)!r}), lambda line: None)
    await supervisor.start(worker("one", "parent", {str(tmp_path / "grandchild")!r}), worker("deaf", "stubborn"))
    print(*supervisor.pids.values(), flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        pids = [*map(int, process.stdout.readline().split()), int((tmp_path / "grandchild").read_text())]
        assert len(pids) == 3
        assert all(map(alive, pids))
        process.kill()
        process.wait()
    give_up_s = time.monotonic() + 20
    while any(map(alive, pids)) and time.monotonic() < give_up_s:
        time.sleep(0.02)
    assert not any(map(alive, pids))
