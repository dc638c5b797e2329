"""What the answers of the server look like in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from octolab.client import Results, Table

STYLES = {
    "completed": "green",
    "running": "cyan",
    "idle": "green",
    "busy": "cyan",
    "failed": "red",
    "error": "red",
    "unknown": "red",
    "needs_operator": "bold red",
    "estopped": "bold red",
    "interrupted": "bold red",
    "cancelled": "dim",
    "offline": "dim",
}
"""State → style; others are plain."""


WHOLE = frozenset({"id", "sample id", "step", "state", "steps", "start", "end"})
"""Columns that are never broken."""


ID_WIDTH = 36


def state(name: str) -> Text:
    """Return a state in its colour."""
    return Text(name.replace("_", " "), style=STYLES.get(name, ""))


def grid(headings: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None) -> RichTable:
    """Return a plain table; numbers stand at the right."""
    filled = [list(row) for row in rows]
    table = RichTable(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for index, heading in enumerate(headings):
        numeric = bool(filled) and all(isinstance(row[index], int | float) or row[index] is None for row in filled)
        # What is copied from here, an id, stays in one piece.
        table.add_column(
            Text(heading),
            justify="right" if numeric else "left",
            overflow="fold",
            no_wrap=heading in WHOLE,
            min_width=ID_WIDTH if heading == "job, id" else None,
        )
    for row in filled:
        table.add_row(*(cell if isinstance(cell, Text) else Text(value(cell)) for cell in row))
    return table


def value(found: Any) -> str:
    """Return a value as people write it."""
    if found is None:
        return "-"
    if isinstance(found, float):
        return f"{found:.5g}"
    if isinstance(found, list | tuple):
        return ", ".join(map(str, found))
    return str(found)


def when(moment: Mapping[str, Any] | None) -> str:
    """Return a moment of lab time: its date in the reader's time zone, or lab seconds where the date is not known."""
    if moment is None:
        return "-"
    if moment["at"] is None:
        return f"lab second {moment['lab_s']:.0f}"
    return datetime.fromisoformat(moment["at"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def soon(moment: Mapping[str, Any] | None) -> str:
    """Return a moment of lab time in few letters: ``21 Nov 03:15``."""
    if moment is None or moment["at"] is None:
        return when(moment)
    return datetime.fromisoformat(moment["at"]).astimezone().strftime("%d %b %H:%M")


def duration(seconds: float | None) -> str:
    """Return a duration as ``2 h 05 min``."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def jobs(found: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Return a list of jobs, narrow enough for any terminal: the id stands below the name."""
    several = len({job["owner"] for job in found}) > 1
    return grid(
        ("job, id", *(("owner",) if several else ()), "state", "steps", "end"),
        (
            (
                Text.assemble(job["name"], "\n", (job["id"], "dim")),
                *((job["owner"],) if several else ()),
                state(job["state"]),
                f"{job['steps_done']}/{job['steps_total']}",
                soon(job["finished"] or job["predicted_finish"]),
            )
            for job in found
        ),
    )


def why(found: Mapping[str, Any]) -> RenderableType:
    """Return why a job waits."""
    helps = (
        (row["change"], f"{duration(row['gain_s'])} earlier", f"others {duration(row['cost_s'])} later in all")
        for row in found["remedies"]
    )
    parts: list[RenderableType] = [Text(found["sentence"])]
    return Group(*parts, grid(("what would help", "gain", "cost"), helps)) if found["remedies"] else parts[0]


def what_if(found: Mapping[str, Any]) -> RenderableType:
    """Return what would change."""
    parts: list[RenderableType] = [Text(found["sentence"])]
    if (new := found["new_job"]) is not None:
        said = f"{when(new['start'])} to {when(new['finish'])}" if new["start"] else f"not possible: {new['reason']}"
        parts.append(Text(f"The new job: {said}", style="bold"))
    if found["jobs"]:
        rows = (
            (j["name"], when(j["finish_before"]), when(j["finish"]) if j["finish"] else j["reason"], j["job"])
            for j in found["jobs"]
        )
        parts.append(grid(("your job", "ends now", "would end", "id"), rows))
    return Group(*parts)


def preview(found: Mapping[str, Any]) -> RenderableType:
    """Return what would become of a job."""
    facts = RichTable.grid(padding=(0, 2))
    needs = ", ".join(f"{name} {value(float(amount))}" for name, amount in found["consumption"].items())
    rows = [
        ("project", found["project"]),
        ("samples", found["samples"]),
        ("steps", found["steps"]),
        ("needs", needs or "no consumables"),
        ("would start", when(found["predicted_start"])),
        ("would finish", when(found["predicted_finish"])),
        ("not known", found.get("reason", "")),
        *(("warning", f"{row['path']}: {row['message']}") for row in found.get("warnings", ())),
    ]
    for name, text in rows:
        if text not in ("", None):
            facts.add_row(Text(name, style="dim"), str(text))
    head = Text.assemble((str(found["name"]), "bold"), "  can be accepted; nothing is kept.")
    return Group(head, facts)


def storage(found: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Return the places where something stands."""
    taken = [place for place in found if place["taken"]]
    rows = ((p["name"], p["sample_name"] or "taken", p["sample"]) for p in taken)
    return Group(
        grid(("place", "sample", "id"), rows),
        Text(f"{len(found) - len(taken)} of {len(found)} places are free.", style="dim"),
    )


def events(found: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Return what happened, one line each."""
    rows = ((when(e["moment"]), e["kind"], e["subject"], state(e["state_to"]), e["actor"], e["reason"]) for e in found)
    return grid(("when (lab)", "what", "which", "is now", "by", "why"), rows)


def step(found: Mapping[str, Any]) -> str:
    """Return what a step is called where no job is named."""
    return f"{found['module']}: {found['name']}"


def sample(found: Mapping[str, Any]) -> RenderableType:
    """Return a sample with its history."""
    facts = RichTable.grid(padding=(0, 2))
    contents = ", ".join(f"{part['solution']} {value(float(part['volume_ul']))} µL" for part in found["contents"])
    rows = [
        ("id", found["id"]),
        ("job", found["job"]),
        ("state", state(found["state"])),
        ("reason", found["reason"]),
        ("stands in", value(found["places"]) or "nowhere: it was collected, or never made"),
        ("contains", contents),
    ]
    for name, text in rows:
        if text:
            facts.add_row(Text(name, style="dim"), text)
    history = (
        (when(h["started"]), f"{h['module']}.{h['task']}", h["name"], state(h["state"]), h["error"])
        for h in found["history"]
    )
    return Group(
        Text(found["name"], style="bold"),
        facts,
        Text(),
        grid(("started (lab)", "task", "step", "state", "error"), history),
    )


def job(found: Mapping[str, Any]) -> RenderableType:
    """Return a job with its samples."""
    facts = RichTable.grid(padding=(0, 2))
    rows = [
        ("id", found["id"]),
        ("project", f"{found['project']}, by {found['owner']}"),
        ("state", state(found["state"])),
        ("reason", found["state_reason"]),
        ("submitted", when(found["submitted"])),
        ("started", when(found["started"]) if found["started"] else _expected(found["predicted_start"])),
        ("finished", when(found["finished"]) if found["finished"] else _expected(found["predicted_finish"])),
        ("steps", f"{found['steps_done']} of {found['steps_total']} done"),
    ]
    for name, text in rows:
        if text:
            facts.add_row(Text(name, style="dim"), text)
    title = Text(found["name"], style="bold")
    if found["simulated"]:
        title.append("  (simulated)", style="dim")
    parts: list[RenderableType] = [title, facts]
    if found.get("samples"):
        rows_of_samples = ((s["name"], state(s["state"]), s["places"], s["reason"]) for s in found["samples"])
        parts += [Text(), grid(("sample", "state", "stands in", "reason"), rows_of_samples)]
    return Group(*parts)


def _expected(moment: Mapping[str, Any] | None) -> str:
    return "to be planned in a moment" if moment is None else f"expected {when(moment)}"


def results(found: Results) -> RenderableType:
    """Return a job's result table; what is the same for all samples stands below it, so that it stays narrow."""
    table: Table = found.table()
    columns = list(zip(table.columns, zip(*table.rows, strict=True), strict=True)) if table.rows else []
    same = [
        (name, cells[0]) for name, cells in columns[2:] if len(cells) > 1 and set(map(str, cells)) == {str(cells[0])}
    ]
    shown = [(name, cells) for name, cells in columns if name not in dict(same)]
    rows = (
        [state(cell) if name == "state" else cell for (name, _), cell in zip(shown, row, strict=True)]
        for row in zip(*(cells for _, cells in shown), strict=True)
    )
    title = f"{found.document['name']}{'  (simulated)' if found.simulated else ''}"
    parts: list[RenderableType] = [Text(title, style="bold"), grid([_heading(name) for name, _ in shown], rows)]
    if same:
        text = ", ".join(f"{name} {value(cell)}" for name, cell in same)
        parts.append(Text(f"the same in all samples: {text}", style="dim"))
    return Group(*parts)


def _heading(column: str) -> str:
    """Return a column's heading on up to three lines, since a table of results is wide."""
    name, _, unit = column.partition(" [")
    task, _, result = name.rpartition(".")
    return "\n".join([*filter(None, [task, result]), f"[{unit}" if unit else ""] if task else [name])


def errors(console: Console, text: str) -> None:
    """Print what went wrong."""
    console.print(Text(text, style="red"))
