"""Commands for operators: emergency stop, locks, quarantine, running by hand, decisions."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Group

from . import show
from .base import AsJson, app, open_lab, print_answer


@app.command()
def estop(
    scope: Annotated[str, typer.Argument(help="`lab`, or a module.")] = "lab",
    reason: Annotated[str, typer.Option(help="What is wrong; kept.")] = "",
    as_json: AsJson = False,
) -> None:
    """EMERGENCY STOP: bring every device of the lab, or of one module, to its safe state. Asks nothing back.

    Exit code 0 only if every device has confirmed that it is safe.
    """
    with open_lab() as lab:
        answer = lab.estop(scope, reason=reason)
        print_answer(answer, as_json, _stopped)
    if not answer["all_confirmed"]:
        raise typer.Exit(1)


def _stopped(answer: dict[str, Any]) -> Any:
    rows = (
        (d["device"], "confirmed safe" if d["confirmed"] else "[bold red]NOT confirmed[/]", d["text"])
        for d in answer["devices"]
    )
    return show.grid(("device", f"emergency stop of {answer['scope']}", "why"), rows)


@app.command()
def rearm(
    scope: Annotated[str, typer.Argument(help="`lab`, or a module.")] = "lab",
    note: Annotated[str, typer.Option(prompt="What did you check at the bench?", help="Kept for ever.")] = "",
    as_json: AsJson = False,
) -> None:
    """Let the lab or a module move again after an emergency stop (operators)."""
    with open_lab() as lab:
        print_answer(
            lab.rearm(note, scope),
            as_json,
            lambda _: f"The emergency stop of {scope} is re-armed: what waits goes on (`octolab plan`).",
        )


@app.command()
def locks(as_json: AsJson = False) -> None:
    """List the maintenance locks."""
    with open_lab() as lab:
        keys = ("id", "kind", "target", "holder", "reason", "expires_at")
        print_answer(
            lab.locks(), as_json, lambda found: show.grid(keys, ([lock[key] for key in keys] for lock in found))
        )


@app.command()
def lock(
    target: Annotated[str, typer.Argument(help="Id of the device or module.")],
    reason: Annotated[str, typer.Option(prompt=True, help="Why; shown to everybody.")],
    module: Annotated[bool, typer.Option("--module", help="All devices of a module.")] = False,
    until: Annotated[str | None, typer.Option(help="End: ISO date and time with offset.")] = None,
    as_json: AsJson = False,
) -> None:
    """Lock a device or module for maintenance (operators)."""
    with open_lab() as lab:
        answer = lab.lock(target, reason, kind="module" if module else "device", expires_at=until)
        print_answer(answer, as_json, lambda _: f"{target} is locked. Release it with `octolab unlock {answer['id']}`.")


@app.command()
def unlock(
    lock_id: Annotated[str, typer.Argument(help="As `octolab locks` shows it.")], as_json: AsJson = False
) -> None:
    """Release a maintenance lock."""
    with open_lab() as lab:
        print_answer(lab.unlock(lock_id), as_json, lambda _: "Released.")


@app.command()
def clear(
    device: Annotated[str, typer.Argument(help="Id of the device.")],
    note: Annotated[str, typer.Option(prompt="What did you see at the bench?", help="Kept for ever.")],
    as_json: AsJson = False,
) -> None:
    """Release a device from quarantine (operators)."""
    with open_lab() as lab:
        print_answer(lab.clear_device(device, note), as_json, lambda _: f"{device} may be used again.")


@app.command("run")
def run_by_hand(
    task: Annotated[str, typer.Argument(help="module.task, such as uv_vis.home.")],
    reason: Annotated[str, typer.Option(help="Why; part of the job's name.")] = "",
    as_json: AsJson = False,
) -> None:
    """Run a task by hand, as a job of your own with the highest priority (operators)."""
    module, _, name = task.partition(".")
    with open_lab() as lab:
        print_answer(lab.run_by_hand(module, name, reason=reason), as_json, show.job)


@app.command()
def approvals(as_json: AsJson = False) -> None:
    """List the jobs that wait for your approval."""
    with open_lab() as lab:
        keys = ("id", "name", "project", "owner", "reason")
        print_answer(
            lab.approvals(), as_json, lambda found: show.grid(keys, ([job[key] for key in keys] for job in found))
        )


@app.command()
def approve(
    job_id: Annotated[str, typer.Argument(help="The job's id, as `octolab approvals` shows it.")],
    note: Annotated[str, typer.Option(help="Kept for ever.")] = "",
    as_json: AsJson = False,
) -> None:
    """Let a job be planned that waits for approval."""
    with open_lab() as lab:
        print_answer(lab.approve(job_id, note), as_json, lambda _: "Approved.")


@app.command()
def reject(
    job_id: Annotated[str, typer.Argument(help="The job's id, as `octolab approvals` shows it.")],
    note: Annotated[str, typer.Option(prompt="Why not?", help="Its owner is told.")],
    as_json: AsJson = False,
) -> None:
    """Cancel a job that waits for approval."""
    with open_lab() as lab:
        print_answer(lab.reject(job_id, note), as_json, lambda _: "Rejected; its owner is told.")


@app.command()
def attention(as_json: AsJson = False) -> None:
    """List what waits for an operator's decision."""
    with open_lab() as lab:
        print_answer(lab.attention(), as_json, _attention)


def _attention(found: dict[str, list[dict[str, Any]]]) -> Any:
    late, overdue = found.get("late", []), found.get("overdue", [])
    stranded = found.get("stranded", [])
    if not any((found["steps"], found["devices"], late, overdue, stranded)):
        return "Nothing waits for a decision."
    waiting = [(s, s["blocked_devices"], s["reason"]) for s in (*found["steps"], *late)]
    waiting += [(s, sorted(s["devices"]), "runs far longer than expected: look at it") for s in overdue]
    steps = (
        (s["id"], s["job_name"], f"{s['module']}: {', then '.join(s['together'])}", devices, known)
        for s, devices, known in waiting
    )
    asked = show.grid(("step", "job", "what", "devices", "what is known"), steps)
    if not stranded:
        return asked
    samples = ((s["sample"], s["job_name"], s["sample_name"], s["name"]) for s in stranded)
    by_hand = show.grid(("take out by hand", "job", "sample", "from"), samples)
    note = "Then tell it: octolab collect SAMPLE"
    return Group(asked, by_hand, note) if waiting else Group(by_hand, note)


@app.command()
def decide(
    step_id: Annotated[str, typer.Argument(help="Id of the interrupted step, as `octolab attention` shows it.")],
    decision: Annotated[
        str,
        typer.Argument(help="done, failed or repeat; of a step that would start too late: continue, skip or abort."),
    ],
    note: Annotated[str, typer.Option(prompt="What did you see at the bench?", help="What you saw; kept for ever.")],
    as_json: AsJson = False,
) -> None:
    """Decide about a step that was interrupted or would start too late (operators)."""
    with open_lab() as lab:
        print_answer(lab.decide(step_id, decision, note), as_json, lambda _: f"Decided: {decision}.")
