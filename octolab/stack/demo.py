"""Submit a job over REST as anybody would, show its progress, and print what it measured.

Exit code 0 if the job completed, else 1. Server and token come by ``OCTOLAB_URL`` and ``OCTOLAB_TOKEN``.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from octolab.cli import progress, show
from octolab.client import InvalidError, Octolab, OctolabError

PLANNED_WITHIN_S = 2.0


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
    needs = lab.preview(path)["consumption"]
    job = lab.submit(path)
    console.print(f"Submitted {path.name} as job {job['id']}")
    job = _planned(lab, job)
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
    console.print(f"\nResults of job {job['id']}: {lab.url}/api/v1/jobs/{job['id']}/results", soft_wrap=True)
    console.print(_clear_away(lab, lab.job(job["id"], include="samples"), needs), soft_wrap=True)
    console.print()
    return 0


def _planned(lab: Octolab, job: dict[str, Any]) -> dict[str, Any]:
    """Return the job with its predicted times; the plan may follow a moment after the answer."""
    give_up_s = time.monotonic() + PLANNED_WITHIN_S
    while not job["predicted_finish"] and time.monotonic() < give_up_s:
        time.sleep(0.05)
        job = lab.job(job["id"], include="none")
    return job


def _clear_away(lab: Octolab, job: Mapping[str, Any], used: Mapping[str, float]) -> str:
    """Leave the bench as it was, and tell it: in a simulated lab as its people do, by the verbs for it.

    Nobody but a person can do so in a real lab.
    """
    stored = [sample for sample in job["samples"] if sample["places"]]
    if not stored:
        return ""
    if not job["simulated"]:
        where = ", ".join(place for sample in stored for place in sample["places"])
        return (
            f"The samples stand at {where}. Take them out, put fresh vials in, and tell it: octolab collect SAMPLE …, "
            "or on the operator's page"
        )
    for sample in stored:
        lab.collect(sample["id"])
    for stock, amount in used.items():
        lab.request("POST", f"/stocks/{stock}/refill", {"amount": amount})
    return f"The {len(stored)} samples were taken out of the storage again and the stocks refilled, for the next run."


if __name__ == "__main__":
    sys.exit(main())
