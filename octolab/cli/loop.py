"""The command for closed loops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from octolab.client import Job

from . import show
from .base import AsJson, app, open_lab, out

if TYPE_CHECKING:
    from octolab.client.loops import Cycle, Loop


@app.command("loop")
def loop_command(
    file: Annotated[Path, typer.Argument(help="The loop: what to vary, what is wanted, the job of a cycle.")],
    cycles: Annotated[int | None, typer.Option(min=1, help="How many, if not as many as the file says.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a closed loop: suggest samples, make and measure them, learn. Goes on where an earlier run stopped."""
    # Here, because optimisers need numpy, which takes longer to import than most commands take.
    from octolab.client.loops import load, run

    loop = load(file)
    if cycles is not None:
        loop = loop.model_copy(update={"cycles": cycles})
    best = None
    with open_lab() as lab:
        for cycle in run(lab, loop) if as_json else run(lab, loop, on_change=_Progress().show):
            best = cycle.best
            if as_json:
                typer.echo(json.dumps(_document(loop, cycle), ensure_ascii=False))
            else:
                out.print(_picture(loop, cycle))
    if best is None:
        raise typer.Exit(1)


class _Progress:
    """Prints a line when a cycle begins, and when its state changes."""

    def __init__(self) -> None:
        self._shown: tuple[int, str] | None = None

    def show(self, number: int, job: Job) -> None:
        if (number, job["state"]) != self._shown:
            self._shown = (number, job["state"])
            expected = "" if job["finished"] else f", expected {show.when(job['predicted_finish'])}"
            text = f"cycle {number}: {job['state'].replace('_', ' ')}{expected}  {job['id']}"
            out.print(Text(text, style="dim"), soft_wrap=True)


def _document(loop: Loop, cycle: Cycle) -> dict[str, Any]:
    return {
        "cycle": cycle.number,
        "job": cycle.job["id"],
        "state": cycle.job["state"],
        "simulated": cycle.job["simulated"],
        "result": loop.goal.result,
        "unit": cycle.unit,
        "samples": [
            {"values": trial.values, "state": trial.state, "measured": value}
            for trial, value in zip(cycle.trials, cycle.measured, strict=True)
        ],
        "best": None if cycle.best is None else {"sample": cycle.best.number, "values": cycle.best.values},
    }


def _picture(loop: Loop, cycle: Cycle) -> RenderableType:
    units = {dimension.name: dimension.unit for dimension in loop.settings().space}
    headings = [f"{name} [{units[name]}]" if units[name] else name for name in loop.vary]
    measured = f"{loop.goal.result} [{cycle.unit}]" if cycle.unit else loop.goal.result
    rows = [
        (*(trial.values[name] for name in loop.vary), value, "best so far" if trial == cycle.best else "")
        for trial, value in zip(cycle.trials, cycle.measured, strict=True)
    ]
    return Group(
        Text.assemble(
            (f"Cycle {cycle.number} of {loop.cycles}", "bold"), ("  simulated" if cycle.job["simulated"] else "", "dim")
        ),
        show.grid((*headings, measured, ""), rows),
        Text(_best(loop, cycle, units), style="green"),
        Text(),
    )


def _best(loop: Loop, cycle: Cycle, units: dict[str, str]) -> str:
    if cycle.best is None:
        return "Nothing was measured yet."
    values = ", ".join(
        f"{name} {show.value(value)} {units[name]}".rstrip() for name, value in cycle.best.values.items()
    )
    how = (
        f"{cycle.best.objective:.5g} from the aim"
        if isinstance(loop.goal.aim, float)
        else show.value(cycle.best.objective)
    )
    return f"Best so far: {how}, with {values}"
