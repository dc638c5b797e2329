"""What all commands share: the application, who asks which server, and how an answer is printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from octolab.client import Octolab

from . import credentials

app = typer.Typer(
    name="octolab",
    help="Work with a laboratory's server. OCTOLAB_URL and OCTOLAB_TOKEN name server and credential, else `login`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

out = Console()
err = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print what the server answers, for programs.")]
JobId = Annotated[str, typer.Argument(help="The job's id.")]


def open_lab() -> Octolab:
    """Return a client of the server, with the credential, that was kept or that the environment names."""
    kept = credentials.load()
    return Octolab(kept.url, kept.token)


def print_answer(answer: Any, as_json: bool, picture: Callable[[Any], Any]) -> None:
    """Print what the server answered: as it is for programs, as ``picture`` makes of it for people."""
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False, indent=2))
    else:
        out.print(picture(answer))


def read_text(file: Path) -> str:
    """Return what stands in a file; ``-`` is standard input."""
    return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
