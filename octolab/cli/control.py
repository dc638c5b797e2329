"""The verbs of a job as commands: ``octolab pause JOB``, ``octolab abort JOB --reason …``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from octolab.client import Octolab

WHAT = {
    "hold": "Start nothing more of a job; what runs is finished.",
    "release": "Let a held job go on.",
    "pause": "Let a job wait at the next safe points.",
    "resume": "Let a paused job go on.",
    "stop": "End a job early as a success; all data are kept.",
    "abort": "End a job as a failure; samples are put away.",
    "halt": "End a job without any clean-up (operators).",
}


def add_to(
    app: typer.Typer, open_lab: Callable[[], Octolab], show: Callable[[Any, bool, Callable[[Any], Any]], None]
) -> None:
    """Add a command for each verb.

    Parameters
    ----------
    open_lab
        Returns a client.
    show
        Prints an answer: (answer, whether as JSON, what makes a picture of it).
    """
    for verb, what in WHAT.items():
        app.command(verb, help=what)(_command(verb, open_lab, show))


def _command(verb: str, open_lab: Callable[[], Octolab], show: Callable[..., None]) -> Callable[..., None]:
    def command(
        job_id: Annotated[str, typer.Argument(help="The job's id.")],
        reason: Annotated[str, typer.Option(help="Why; kept.")] = "",
        as_json: Annotated[bool, typer.Option("--json", help="Print what the server answers, for programs.")] = False,
    ) -> None:
        with open_lab() as lab:
            if not as_json and verb in ("hold", "pause"):
                for window in lab.verbs(job_id)["windows"]:
                    typer.echo(
                        f"{window['name']} must start within {window['within_s']:g} s of the step before.", err=True
                    )
            answer = lab.control(job_id, verb, reason=reason)
            show(answer, as_json, lambda found: f"{verb}: the job is {found['state']}." if "state" in found else verb)

    return command
