"""Command lines for the person at the terminal to copy."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from .options import REPOSITORY


def manage(data: Path, *arguments: str) -> str:
    """Return a command line that calls ``manage.py`` for the data of this stack, from the folder one is in."""
    here = Path.cwd()
    program = [_from(here, Path(sys.executable)), _from(here, REPOSITORY / "manage.py"), *arguments]
    own = [] if data == REPOSITORY / "var" else [f"OCTOLAB_DATA_ROOT={shlex.quote(str(data))}"]
    return " ".join([*own, shlex.join(program)])


def _from(here: Path, path: Path) -> str:
    """Return a path as short as it can be written in a folder; links are not followed."""
    return os.fspath(path.relative_to(here)) if path.is_relative_to(here) else os.fspath(path)
