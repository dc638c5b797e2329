"""Which shipped example shows a lab at work."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from scheduler.jobformat.text import read

from .options import REPOSITORY

EXAMPLES = REPOSITORY / "octolab" / "examples"
FIRST = ("silver-nanoparticles", "virtual")
"""Examples that say most about a lab; one of the others is taken if neither fits."""


def fitting_example(modules: Collection[str]) -> Path | None:
    """Return the example to show with a lab of these modules; None if each asks for another one."""
    shipped = sorted(EXAMPLES.glob("*.yaml"), key=lambda path: (path.stem not in FIRST, path.stem))
    return next((path for path in shipped if _asked(path) <= set(modules)), None)


def _asked(example: Path) -> set[str]:
    """Return the modules that an example asks for."""
    return {str(entry["task"]).partition(".")[0] for entry in read(example.read_bytes())["workflow"]}
