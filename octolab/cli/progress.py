"""A job on its way: one line per sample with the step that runs, live in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table as RichTable
from rich.text import Text

from octolab.client import FINAL, Octolab

from . import show

LOOK_EVERY_S = 0.4
DONE = frozenset({"completed", "failed", "aborted", "skipped", "cancelled"})
UNDER_WAY = frozenset({"granted", "dispatched", "running", "pausing", "paused", "interrupted"})


def watch(lab: Octolab, job_id: str, console: Console) -> dict[str, Any]:
    """Show a job's progress until it is final or needs an operator, and return it."""
    if not console.is_terminal:
        return lab.wait(job_id, on_change=_PlainLines(console).show)
    with Live(console=console, refresh_per_second=8, transient=True) as live:
        while True:
            job = lab.job(job_id, include="samples,steps")
            live.update(picture(job))
            if job["state"] in FINAL or job["state"] == "needs_operator":
                break
            time.sleep(LOOK_EVERY_S)
    console.print(picture(job))
    return job


class _PlainLines:
    """Prints a line when the state changes or another tenth of the steps is done."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: tuple[str, int] | None = None

    def show(self, job: Mapping[str, Any]) -> None:
        """Take the job as it is now."""
        done, total = job["steps_done"], max(1, job["steps_total"])
        now = (job["state"], 10 * done // total)
        if now != self._shown:
            self._shown = now
            self._console.print(f"  {job['state']:<10} {done:>4} of {total} steps", highlight=False, soft_wrap=True)


def picture(job: Mapping[str, Any]) -> RenderableType:
    """Return the job with a bar, and one line for each sample."""
    head = RichTable.grid(padding=(0, 2))
    head.add_row(Text(job["name"], style="bold"), show.state(job["state"]))
    bar = RichTable.grid(padding=(0, 2))
    done, total = job["steps_done"], job["steps_total"]
    expected = show.when(job["finished"] or job["predicted_finish"])
    bar.add_row(
        ProgressBar(total=max(1, total), completed=done, width=40),
        f"{done}/{total} steps",
        f"{'finished' if job['finished'] else 'expected'} {expected} (lab time)",
    )
    lines = RichTable.grid(padding=(0, 2))
    for sample in job["samples"]:
        lines.add_row(*_sample_line(sample, job["steps"]))
    parts: list[RenderableType] = [head, bar, lines]
    if job["state_reason"]:
        parts.append(Text(job["state_reason"], style="red" if job["state"] in ("failed", "needs_operator") else "dim"))
    return Group(*parts)


def _sample_line(sample: Mapping[str, Any], steps: list[Mapping[str, Any]]) -> tuple[RenderableType, ...]:
    own = [step for step in steps if sample["id"] in step["samples"] and not step["dormant"]]
    done = sum(step["state"] in DONE for step in own)
    current = next((step for step in own if step["state"] in UNDER_WAY), None)
    what = Text(f"{current['module']}.{current['task_name']}: {current['name']}") if current else Text()
    if current and current["state"] == "interrupted":
        what.stylize("bold red")
    return (
        Text(f"  {sample['name']}"),
        show.state(sample["state"]),
        ProgressBar(total=max(1, len(own)), completed=done, width=16),
        Text(f"{done}/{len(own)}", style="dim"),
        what,
    )
