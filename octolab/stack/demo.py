"""Submit a job over REST as anybody would, show its progress, and print what it measured.

Exit code 0 if the job completed, else 1. Server and token come by ``OCTOLAB_URL`` and ``OCTOLAB_TOKEN``.
"""

from __future__ import annotations

import os
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from octolab.cli import progress, show
from octolab.client import InvalidError, Octolab, OctolabError

MODULES_WITHIN_S = 30.0
LATER_S = 2.0


def main() -> int:
    """Run the demo job named on the command line."""
    path = Path(sys.argv[1])
    console = Console(highlight=False)
    try:
        with Octolab() as lab:
            return _run(lab, path, console)
    except InvalidError as error:
        console.print(Text(f"The lab does not take {path.name}: {error}", style="red"))
        console.print("Submit another job with --job FILE, or start without one with --no-demo.")
    except OctolabError as error:
        console.print(Text(str(error), style="red"))
    return 1


def _run(lab: Octolab, path: Path, console: Console) -> int:
    _until_modules_are_served(lab)
    job = _submit(lab, path)
    console.print(f"Submitted {path.name} as job {job['id']}")
    if job["predicted_finish"]:
        begin, end = job["predicted_start"], job["predicted_finish"]
        lasts = show.duration(end["lab_s"] - begin["lab_s"])
        scale = float(os.environ.get("OCTOLAB_SCALE", "1"))
        real = show.duration((end["lab_s"] - job["submitted"]["lab_s"]) / scale)
        console.print(f"Planned: it takes {lasts} in the lab, {real} here")
    console.print()
    job = progress.watch(lab, job["id"], console)
    console.print()
    if job["state"] != "completed":
        console.print(Text(f"The job is {job['state']}: {job['state_reason'] or 'see the dashboard'}", style="red"))
        return 1
    console.print(show.results(lab.results(job["id"])))
    console.print(f"\nResults of job {job['id']}: {lab.url}/api/v1/jobs/{job['id']}/results\n", soft_wrap=True)
    return 0


def _submit(lab: Octolab, path: Path) -> dict[str, Any]:
    """Submit, and once more if it is refused: what a host has just told is known to every thread a moment later."""
    key = str(uuid.uuid4())
    try:
        return lab.submit(path, key=key)
    except InvalidError:
        time.sleep(LATER_S)
        return lab.submit(path, key=key)


def _until_modules_are_served(lab: Octolab) -> None:
    """Wait until every module's host has told what it offers: it does so a moment after it has started."""
    give_up_s = time.monotonic() + MODULES_WITHIN_S
    while time.monotonic() < give_up_s:
        modules = lab.modules()
        if modules and all(module["manifest"] for module in modules):
            return
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
