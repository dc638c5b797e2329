"""The verbs of a job as commands: ``octolab pause JOB``, ``octolab abort JOB --reason …``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from .base import AsJson, JobId, app, open_lab, print_answer

WHAT = {
    "hold": "Start nothing more of a job; what runs is finished.",
    "release": "Let a held job go on.",
    "pause": "Let a job wait at the next safe points.",
    "resume": "Let a paused job go on.",
    "stop": "End a job early as a success; all data are kept.",
    "abort": "End a job as a failure; samples are put away.",
    "halt": "End a job without any clean-up (operators).",
}


def _command(verb: str) -> Callable[..., None]:
    def command(
        job_id: JobId, reason: Annotated[str, typer.Option(help="Why; kept.")] = "", as_json: AsJson = False
    ) -> None:
        with open_lab() as lab:
            if not as_json and verb in ("hold", "pause"):
                for window in lab.verbs(job_id)["windows"]:
                    typer.echo(
                        f"{window['name']} must start within {window['within_s']:g} s of the step before.", err=True
                    )
            answer = lab.control(job_id, verb, reason=reason)
            print_answer(
                answer, as_json, lambda found: f"{verb}: the job is {found['state']}." if "state" in found else verb
            )

    return command


for _verb, _what in WHAT.items():
    app.command(_verb, help=_what)(_command(_verb))
