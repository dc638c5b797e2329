"""Readers of problem files: octolab's own JSON and the formats of the public instance libraries.

Each reader turns one file (S-LAB: one folder) into a `Problem`. Step ids count the operations in file order,
so that
``starts`` in the command line's answer can be given in that order too.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from scheduler.planning.codec import load_problem
from scheduler.planning.formats import jobshop, projects, slab
from scheduler.planning.formats.text import read_text
from scheduler.planning.problem import Problem


class FormatError(ValueError):
    """A file that does not follow its format; the message says what was expected."""


def _octolab(path: Path) -> Problem:
    return load_problem(read_text(path))


READERS: dict[str, Callable[[Path], Problem]] = {
    "octolab": _octolab,
    "jsp": jobshop.read_jsp,
    "fjsp": jobshop.read_fjsp,
    "psplib": projects.read_psplib,
    "rcpsp_max": projects.read_rcpsp_max,
    "slab": slab.read_slab,
}
"""Reader of each format by its name on the command line."""


def read(path: str | Path, form: str = "octolab", copies: int = 1) -> Problem:
    """Read a problem file.

    Parameters
    ----------
    path
        The file, or for ``slab`` the folder with its four tables.
    form
        A name in `READERS`.
    copies
        Repeat every job so many times (S-LAB's ``xN``).

    Raises
    ------
    FormatError
        If the file does not follow the format.
    OSError
        If it cannot be read.
    """
    if form not in READERS:
        raise FormatError(f"no format is called {form!r}; there are {', '.join(sorted(READERS))}")
    try:
        problem = READERS[form](Path(path))
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error
    return slab.multiply(problem, copies) if copies > 1 else problem


__all__ = ["READERS", "FormatError", "read"]
