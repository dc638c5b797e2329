"""Commands about jobs: from submit to results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from octolab.client import Octolab

from . import progress, show
from .base import AsJson, JobId, app, open_lab, out, print_answer, read_text

JobFile = Annotated[Path, typer.Argument(help="A job as YAML or JSON; - for standard input.", allow_dash=True)]


@app.command()
def submit(
    file: JobFile,
    watching: Annotated[bool, typer.Option("--watch", "-w", help="Show its progress until it ends.")] = False,
    key: Annotated[str | None, typer.Option(help="Idempotency key: the same key never makes a second job.")] = None,
    as_json: AsJson = False,
) -> None:
    """Submit a job."""
    with open_lab() as lab:
        job = lab.submit(read_text(file), key=key)
        if not (watching and as_json):
            print_answer(job, as_json, show.job)
        if watching:
            _watch(lab, job["id"], as_json)


@app.command()
def preview(file: JobFile, as_json: AsJson = False) -> None:
    """Check a job and predict when it would run; nothing is kept."""
    with open_lab() as lab:
        answer = lab.preview(read_text(file))
        print_answer(answer, as_json, show.preview)


@app.command()
def jobs(
    state: Annotated[str | None, typer.Option(help="Only in these states, separated by commas.")] = None,
    project: Annotated[str | None, typer.Option(help="Only of this project.")] = None,
    mine: Annotated[bool, typer.Option("--mine", help="Only your own.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    with open_lab() as lab:
        found = lab.jobs(state=state, project=project, owner="me" if mine else None, limit=limit)
        print_answer(found, as_json, show.jobs)


@app.command()
def why(job_id: JobId, as_json: AsJson = False) -> None:
    """Say why a job waits, and what would help."""
    with open_lab() as lab:
        print_answer(lab.why(job_id), as_json, show.why)


@app.command("what-if")
def what_if(
    file: Annotated[Path | None, typer.Argument(help="A job that would come; - for standard input.")] = None,
    lose: Annotated[list[str] | None, typer.Option(help="A device that would be away; may be given again.")] = None,
    as_json: AsJson = False,
) -> None:
    """Plan the live queue with another job, or without a device; nothing is kept."""
    if file is None and not lose:
        raise typer.BadParameter("say what would be otherwise: a job's file, or --lose DEVICE")
    with open_lab() as lab:
        answer = lab.what_if(None if file is None else read_text(file), lose=lose or ())
        print_answer(answer, as_json, show.what_if)


@app.command("show")
def show_job(job_id: JobId, as_json: AsJson = False) -> None:
    """Show a job with its samples."""
    with open_lab() as lab:
        print_answer(lab.job(job_id), as_json, show.job)


@app.command()
def watch(job_id: JobId, as_json: AsJson = False) -> None:
    """Show a job's progress until it ends; exit code 0 only if it completed."""
    with open_lab() as lab:
        _watch(lab, job_id, as_json)


def _watch(lab: Octolab, job_id: str, as_json: bool) -> None:
    if as_json:
        job = lab.wait(job_id)
        typer.echo(json.dumps(job, ensure_ascii=False, indent=2))
    else:
        job = progress.watch(lab, job_id, out)
    if job["state"] != "completed":
        raise typer.Exit(1)


@app.command()
def cancel(
    job_id: JobId, reason: Annotated[str, typer.Option(help="Why; kept.")] = "", as_json: AsJson = False
) -> None:
    """Cancel a job."""
    with open_lab() as lab:
        print_answer(lab.cancel(job_id, reason=reason), as_json, show.job)


@app.command()
def change(
    job_id: JobId,
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    priority: Annotated[int | None, typer.Option(help="-10 to 10; 0 is normal.")] = None,
    deadline: Annotated[
        str | None, typer.Option(help="2026-12-01T09:00, in the lab's time zone; `none` for none.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change name, priority or deadline of a job that has not started."""
    wanted = {"name": name, "priority": priority, "deadline": deadline}
    changes: dict[str, Any] = {key: value for key, value in wanted.items() if value is not None}
    if not changes:
        raise typer.BadParameter("tell what to change: --name, --priority or --deadline")
    if deadline == "none":
        changes["deadline"] = None
    with open_lab() as lab:
        print_answer(lab.change(job_id, **changes), as_json, show.job)


@app.command()
def rerun(job_id: JobId, as_json: AsJson = False) -> None:
    """Submit a job once more, as a new job of yours that is linked to it."""
    with open_lab() as lab:
        print_answer(lab.rerun(job_id), as_json, show.job)


@app.command()
def logs(job_id: JobId, as_json: AsJson = False) -> None:
    """List everything that happened to a job, in order."""
    with open_lab() as lab:
        print_answer(lab.logs(job_id), as_json, show.events)


@app.command()
def results(job_id: JobId, as_json: AsJson = False) -> None:
    """Show what a job measured."""
    with open_lab() as lab:
        found = lab.results(job_id)
        print_answer(found.document, as_json, lambda _: show.results(found))


@app.command()
def download(
    job_id: JobId,
    folder: Annotated[Path, typer.Option("--to", help="Folder for the files.")] = Path(),
    pattern: Annotated[str, typer.Option(help="Which files.")] = "*",
    as_json: AsJson = False,
) -> None:
    """Download a job's files; a broken download goes on where it stopped."""
    with open_lab() as lab:
        paths = [str(path) for path in lab.download(job_id, folder, pattern=pattern)]
        print_answer(paths, as_json, lambda found: "\n".join(found) or "The job has no such files.")
