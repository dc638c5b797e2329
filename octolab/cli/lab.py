"""Commands about the lab: what stands in it, what it holds, and what people did at the bench."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from . import show
from .base import AsJson, app, open_lab, print_answer


@app.command()
def modules(as_json: AsJson = False) -> None:
    """List the modules and the tasks they offer."""
    with open_lab() as lab:
        rows = lambda found: ((m["id"], t["name"], t["title"]) for m in found for t in m["tasks"])  # noqa: E731
        print_answer(lab.modules(), as_json, lambda found: show.grid(("module", "task", "what it does"), rows(found)))


@app.command()
def devices(as_json: AsJson = False) -> None:
    """List the devices and their states."""
    with open_lab() as lab:
        rows = lambda found: ((d["id"], d["title"], show.state(d["state"]), d["reason"]) for d in found)  # noqa: E731
        print_answer(
            lab.devices(), as_json, lambda found: show.grid(("device", "title", "state", "reason"), rows(found))
        )


@app.command()
def plan(as_json: AsJson = False) -> None:
    """Show what runs and what is planned; other people's work is *busy*."""
    with open_lab() as lab:
        print_answer(lab.plan(), as_json, _plan)


def _plan(found: dict[str, Any]) -> Any:
    rows = (
        (
            *(show.soon(bar["start"]), show.soon(bar["end"]), sorted(bar["devices"])),
            *(("busy", "", "") if bar["busy"] else (bar["job_name"], show.step(bar), bar["samples"])),
        )
        for bar in found["steps"]
    )
    return show.grid(("start", "end", "devices", "job", "step", "samples"), rows)


@app.command()
def stocks(as_json: AsJson = False) -> None:
    """List what there is of consumables."""
    with open_lab() as lab:
        keys = ("id", "title", "level", "reserved", "available", "unit")
        print_answer(lab.stocks(), as_json, lambda found: show.grid(keys, ([s[key] for key in keys] for s in found)))


@app.command()
def refill(
    stock: Annotated[str, typer.Argument(help="The stock's id.")],
    level: Annotated[float, typer.Argument(min=0, help="What it holds now, in the stock's unit.")],
    lot: Annotated[str, typer.Option(help="Lot number.")] = "",
    as_json: AsJson = False,
) -> None:
    """Tell what a stock holds after you refilled it (operators)."""
    with open_lab() as lab:
        print_answer(lab.refill(stock, level, lot=lot), as_json, lambda _: f"{stock} holds {level:g} now.")


@app.command()
def storage(as_json: AsJson = False) -> None:
    """List the places where samples stand."""
    with open_lab() as lab:
        print_answer(lab.storage(), as_json, show.storage)


@app.command()
def collect(
    sample_ids: Annotated[list[str], typer.Argument(help="Ids of the samples.")],
    as_json: AsJson = False,
) -> None:
    """Tell that you have taken stored samples away, so that their places are free."""
    with open_lab() as lab:
        answers = [lab.collect(sample_id) for sample_id in sample_ids]
        print_answer(answers, as_json, lambda found: f"Collected: {len(found)}. Their places are free.")


@app.command()
def sample(sample_id: Annotated[str, typer.Argument(help="Id of the sample.")], as_json: AsJson = False) -> None:
    """Show a sample: where it stands, what is in it, and what was done to it."""
    with open_lab() as lab:
        print_answer(lab.sample(sample_id), as_json, show.sample)


@app.command()
def api(
    path: Annotated[str, typer.Argument(help="Such as `/jobs?state=running`; below /api/v1.")],
    method: Annotated[str, typer.Option("--method", "-X", help="GET, POST, PATCH, PUT or DELETE.")] = "GET",
    body: Annotated[str | None, typer.Option("--body", "-d", help="JSON; - reads standard input.")] = None,
) -> None:
    """Send any request of the REST API with the kept token, and print the answer."""
    text = sys.stdin.read() if body == "-" else body
    try:
        data = None if text is None else json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"--body is not JSON: {error}") from error
    with open_lab() as lab:
        answer = lab.request(method, path, data)
    if answer is not None:
        typer.echo(answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False, indent=2))
