"""The command line. Each command prints for people, or with ``--json`` what the server answered, for programs.

Exit codes: 0 if it was done, 1 if the server refused, cannot be reached, or a watched job did not complete,
2 if the command line is wrong.
"""

from __future__ import annotations

import json
import sys

import typer

from octolab.client import ApiError, NotAuthenticatedError, OctolabError

# isort: off - in the order in which `octolab --help` lists their commands
from . import account, control, jobs, lab, loop, module, operators, show  # noqa: F401
from .base import app, err

# isort: on

PANELS = {
    "account": "You",
    "jobs": "Jobs",
    "control": "Jobs",
    "loop": "Jobs",
    "lab": "The lab",
    "operators": "Operators",
}
"""Where `octolab --help` lists a module's commands."""
for _command in app.registered_commands:
    if _command.callback is not None:
        _command.rich_help_panel = PANELS[_command.callback.__module__.rpartition(".")[2]]


def run() -> None:
    """Run the command line; what is wrong becomes one clear message, with ``--json`` the server's own."""
    try:
        app()
    except ApiError as error:
        if "--json" in sys.argv:
            typer.echo(json.dumps(error.document, ensure_ascii=False, indent=2))
        elif isinstance(error, NotAuthenticatedError):
            show.errors(err, f"{error}\nLog in with `octolab login`, or set OCTOLAB_TOKEN.")
        elif "devices:control" in str(error):
            show.errors(err, f"{error}\nOperators log in with `octolab login --operate`.")
        else:
            show.errors(err, str(error))
    except FileNotFoundError as error:
        show.errors(err, f"There is no file {error.filename}.")
    except (OctolabError, OSError, KeyError, TimeoutError) as error:
        show.errors(err, str(error.args[0] if isinstance(error, KeyError) else error))
    except KeyboardInterrupt:
        sys.exit(130)
    else:
        return
    sys.exit(1)
