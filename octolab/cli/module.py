"""Commands for people who write modules. They need no server."""

from __future__ import annotations

import importlib.util
import keyword
import os
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from .base import app, out

TEMPLATE = Path(__file__).resolve().parents[1] / "sdk" / "template"
OCTOLAB = Path(__file__).resolve().parents[2]
NAMED = "our_doser"
"""What the module of the template is called."""

module_app = typer.Typer(help="Begin a module of your own, and check it. No server is needed.", no_args_is_help=True)
app.add_typer(module_app, name="module", rich_help_panel="Modules of your own")


@module_app.command()
def new(
    name: Annotated[str, typer.Argument(help="What the package is called: lower case, digits, underscores.")],
    folder: Annotated[Path | None, typer.Option("--in", help="The new folder; the package's name by default.")] = None,
) -> None:
    """Write a module to begin with: manifest, actions, driver, simulated instrument, lab file, job and tests."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name) or keyword.iskeyword(name):
        raise typer.BadParameter(f"{name!r} cannot be a package's name: write it like our_balance", param_hint="NAME")
    if importlib.util.find_spec(name) is not None:
        raise typer.BadParameter(f"there is a package {name!r} already: take another name", param_hint="NAME")
    target = folder or Path(name)
    if target.exists() and any(target.iterdir()):
        raise FileExistsError(f"{target} is there already and not empty: name another folder with --in.")
    for source in sorted(TEMPLATE.rglob("*")):
        if source.is_file() and "__pycache__" not in source.parts:
            file = target / str(source.relative_to(TEMPLATE)).replace(NAMED, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(source.read_text(encoding="utf-8").replace(NAMED, name), encoding="utf-8")
    out.print(_next_steps(name, target), highlight=False, soft_wrap=True)


def _next_steps(name: str, target: Path) -> str:
    up = OCTOLAB / "deploy" / "up"
    return f"""{target}/ holds a module that works, for a simulated powder doser. Make it yours:
  {name}/__init__.py    what it offers, and what it does
  {name}/driver.py      what is said to the instrument
  {name}/simulator.py   what the simulated one answers
  lab.toml, doses.yaml, test_{name}.py

  cd {target}
  octolab module check                # lab file, manifest, actions, driver, simulator
  {sys.executable} -m unittest           # the module at a bench of its own, in a second
  PYTHONPATH=. {up} --lab lab.toml --job doses.yaml --data data --port 0 --once"""


@module_app.command()
def check(
    lab: Annotated[Path, typer.Argument(help="The lab file that names the module.")] = Path("lab.toml"),
) -> None:
    """Say what is wrong with a lab file and the modules that it names, each with file and line. Touches no device.

    Packages are found as Python finds them, and beside the lab file.
    """
    # Here, because this needs what hosts need, and takes longer to import than most commands take.
    from modules.contract.lab import LabFileError, load
    from modules.host.check import mistakes

    sys.path.insert(0, os.path.abspath(lab.parent))
    try:
        found_lab = load(lab)
        found = mistakes(found_lab)
    except LabFileError as error:
        found = [str(error)]
    for mistake in found:
        typer.echo(mistake)
    if found:
        raise typer.Exit(1)
    offered = ", ".join(found_lab.modules)
    out.print(f"{lab} is good: {offered}; devices: {len(found_lab.devices)}. Nothing was connected.", highlight=False)
