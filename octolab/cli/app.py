"""The commands. Each prints for people, or with ``--json`` what the server answered, for programs.

Exit codes: 0 if it was done, 1 if the server refused, cannot be reached, or a watched job did not complete,
2 if the command line is wrong.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from octolab.client import ApiError, NotAuthenticatedError, Octolab, OctolabError

from . import control, credentials, progress, show

app = typer.Typer(
    name="octolab",
    help="Work with a laboratory's server. OCTOLAB_URL and OCTOLAB_TOKEN name server and credential, else `login`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
tokens_app = typer.Typer(help="List and revoke your tokens.", no_args_is_help=True)
app.add_typer(tokens_app, name="tokens")

out = Console()
err = Console(stderr=True)

USUAL_SCOPES = ("jobs:read", "jobs:write", "results:read", "devices:read")
AsJson = Annotated[bool, typer.Option("--json", help="Print what the server answers, for programs.")]
JobId = Annotated[str, typer.Argument(help="The job's id.")]
JobFile = Annotated[Path, typer.Argument(help="A job as YAML or JSON; - for standard input.", allow_dash=True)]


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


def _lab() -> Octolab:
    kept = credentials.load()
    return Octolab(kept.url, kept.token)


def _print(answer: Any, as_json: bool, picture: Callable[[Any], Any]) -> None:
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False, indent=2))
    else:
        out.print(picture(answer))


def _text(file: Path) -> str:
    return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")


# --- who one is ------------------------------------------------------------------------------------------------


@app.command()
def login(
    url: Annotated[str | None, typer.Argument(help="Address of the server.")] = None,
    username: Annotated[str, typer.Option("--user", "-u", prompt="User name")] = "",
    operate: Annotated[
        bool, typer.Option("--operate", help="For operators: may also change things at the bench.")
    ] = False,
) -> None:
    """Make a token with name and password, and keep it for later commands."""
    address = (url or credentials.load().url).rstrip("/")
    password = typer.prompt("Password", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    with Octolab(address, token="") as lab:
        scopes = (*USUAL_SCOPES, "devices:control") if operate else None
        token = lab.login(username, password, name="octolab command", scopes=scopes)
        file = credentials.keep(credentials.Credentials(address, token))
    out.print(f"Logged in at {address} as {username}; the token is kept in {file}", soft_wrap=True)


@app.command()
def logout() -> None:
    """Revoke the kept token and forget it."""
    kept = credentials.load()
    try:
        with Octolab(kept.url, kept.token) as lab:
            if (token := lab.me()["token"]) is not None:
                lab.revoke(token["id"])
    except NotAuthenticatedError:
        pass  # it does not work any more, which is what is wanted
    out.print("Logged out." if credentials.forget() else "There was no kept token.")


@tokens_app.command("list")
def tokens_list(as_json: AsJson = False) -> None:
    """List your tokens."""
    with _lab() as lab:
        headings = ("id", "name", "scopes", "expires", "last used")
        keys = ("id", "name", "scopes", "expires_at", "last_used_at")
        _print(lab.tokens(), as_json, lambda found: show.grid(headings, ([t[key] for key in keys] for t in found)))


@tokens_app.command("revoke")
def tokens_revoke(token_id: str) -> None:
    """Revoke a token."""
    with _lab() as lab:
        lab.revoke(token_id)
    out.print(f"Token {token_id} does not work any more.")


# --- jobs ------------------------------------------------------------------------------------------------------


@app.command()
def submit(
    file: JobFile,
    watching: Annotated[bool, typer.Option("--watch", "-w", help="Show its progress until it ends.")] = False,
    key: Annotated[str | None, typer.Option(help="Idempotency key: the same key never makes a second job.")] = None,
    as_json: AsJson = False,
) -> None:
    """Submit a job."""
    with _lab() as lab:
        job = lab.submit(_text(file), key=key)
        if not (watching and as_json):
            _print(job, as_json, show.job)
        if watching:
            _watch(lab, job["id"], as_json)


@app.command()
def preview(file: JobFile, as_json: AsJson = False) -> None:
    """Check a job and predict when it would run; nothing is kept."""
    with _lab() as lab:
        answer = lab.preview(_text(file))
        _print(answer, as_json, show.preview)


@app.command()
def jobs(
    state: Annotated[str | None, typer.Option(help="Only in these states, separated by commas.")] = None,
    project: Annotated[str | None, typer.Option(help="Only of this project.")] = None,
    mine: Annotated[bool, typer.Option("--mine", help="Only your own.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    with _lab() as lab:
        found = lab.jobs(state=state, project=project, owner="me" if mine else None, limit=limit)
        _print(found, as_json, show.jobs)


@app.command("show")
def show_job(job_id: JobId, as_json: AsJson = False) -> None:
    """Show a job with its samples."""
    with _lab() as lab:
        _print(lab.job(job_id), as_json, show.job)


@app.command()
def watch(job_id: JobId, as_json: AsJson = False) -> None:
    """Show a job's progress until it ends; exit code 0 only if it completed."""
    with _lab() as lab:
        _watch(lab, job_id, as_json)


def _watch(lab: Octolab, job_id: str, as_json: bool) -> None:
    if as_json:
        job = lab.wait(job_id)
        typer.echo(json.dumps(job, ensure_ascii=False, indent=2))
    else:
        job = progress.watch(lab, job_id, out)
    if job["state"] != "completed":
        raise typer.Exit(1)


@app.command()
def cancel(
    job_id: JobId, reason: Annotated[str, typer.Option(help="Why; kept.")] = "", as_json: AsJson = False
) -> None:
    """Cancel a job."""
    with _lab() as lab:
        _print(lab.cancel(job_id, reason=reason), as_json, show.job)


@app.command()
def change(
    job_id: JobId,
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    priority: Annotated[int | None, typer.Option(help="-10 to 10; 0 is normal.")] = None,
    deadline: Annotated[
        str | None, typer.Option(help="2026-12-01T09:00, in the lab's time zone; `none` for none.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change name, priority or deadline of a job that has not started."""
    wanted = {"name": name, "priority": priority, "deadline": deadline}
    changes: dict[str, Any] = {key: value for key, value in wanted.items() if value is not None}
    if not changes:
        raise typer.BadParameter("tell what to change: --name, --priority or --deadline")
    if deadline == "none":
        changes["deadline"] = None
    with _lab() as lab:
        _print(lab.change(job_id, **changes), as_json, show.job)


@app.command()
def rerun(job_id: JobId, as_json: AsJson = False) -> None:
    """Submit a job once more, as a new job of yours that is linked to it."""
    with _lab() as lab:
        _print(lab.rerun(job_id), as_json, show.job)


@app.command()
def logs(job_id: JobId, as_json: AsJson = False) -> None:
    """List everything that happened to a job, in order."""
    with _lab() as lab:
        _print(lab.logs(job_id), as_json, show.events)


control.add_to(app, lambda: _lab(), lambda *what: _print(*what))


@app.command()
def results(job_id: JobId, as_json: AsJson = False) -> None:
    """Show what a job measured."""
    with _lab() as lab:
        found = lab.results(job_id)
        _print(found.document, as_json, lambda _: show.results(found))


@app.command()
def download(
    job_id: JobId,
    folder: Annotated[Path, typer.Option("--to", help="Folder for the files.")] = Path(),
    pattern: Annotated[str, typer.Option(help="Which files.")] = "*",
    as_json: AsJson = False,
) -> None:
    """Download a job's files; a broken download goes on where it stopped."""
    with _lab() as lab:
        paths = [str(path) for path in lab.download(job_id, folder, pattern=pattern)]
        _print(paths, as_json, lambda found: "\n".join(found) or "The job has no such files.")


# --- the lab ---------------------------------------------------------------------------------------------------


@app.command()
def modules(as_json: AsJson = False) -> None:
    """List the modules and the tasks they offer."""
    with _lab() as lab:
        rows = lambda found: ((m["id"], t["name"], t["title"]) for m in found for t in m["tasks"])  # noqa: E731
        _print(lab.modules(), as_json, lambda found: show.grid(("module", "task", "what it does"), rows(found)))


@app.command()
def devices(as_json: AsJson = False) -> None:
    """List the devices and their states."""
    with _lab() as lab:
        rows = lambda found: ((d["id"], d["title"], show.state(d["state"]), d["reason"]) for d in found)  # noqa: E731
        _print(lab.devices(), as_json, lambda found: show.grid(("device", "title", "state", "reason"), rows(found)))


@app.command()
def plan(as_json: AsJson = False) -> None:
    """Show what runs and what is planned; other people's work is *busy*."""
    with _lab() as lab:
        _print(lab.plan(), as_json, _plan)


def _plan(found: dict[str, Any]) -> Any:
    rows = (
        (
            *(show.when(bar["start"]), show.when(bar["end"]), sorted(bar["devices"])),
            *(("busy", "", "") if bar["busy"] else (bar["job_name"], _step(bar), bar["samples"])),
        )
        for bar in found["steps"]
    )
    return show.grid(("start", "end", "devices", "job", "step", "samples"), rows)


def _step(found: dict[str, Any]) -> str:
    return f"{found['module']}: {found['name']}"


@app.command()
def stocks(as_json: AsJson = False) -> None:
    """List what there is of consumables."""
    with _lab() as lab:
        keys = ("id", "title", "level", "reserved", "available", "unit")
        _print(lab.stocks(), as_json, lambda found: show.grid(keys, ([s[key] for key in keys] for s in found)))


@app.command()
def refill(
    stock: Annotated[str, typer.Argument(help="The stock's id.")],
    level: Annotated[float, typer.Argument(min=0, help="What it holds now, in the stock's unit.")],
    lot: Annotated[str, typer.Option(help="Lot number.")] = "",
    as_json: AsJson = False,
) -> None:
    """Tell what a stock holds after you refilled it (operators)."""
    with _lab() as lab:
        _print(lab.refill(stock, level, lot=lot), as_json, lambda _: f"{stock} holds {level:g} now.")


@app.command()
def storage(as_json: AsJson = False) -> None:
    """List the places where samples stand."""
    with _lab() as lab:
        _print(lab.storage(), as_json, show.storage)


@app.command()
def collect(
    sample_ids: Annotated[list[str], typer.Argument(help="Ids of the samples.")],
    as_json: AsJson = False,
) -> None:
    """Tell that you have taken stored samples away, so that their places are free."""
    with _lab() as lab:
        answers = [lab.collect(sample_id) for sample_id in sample_ids]
        _print(answers, as_json, lambda found: f"Collected: {len(found)}. Their places are free.")


@app.command()
def sample(sample_id: Annotated[str, typer.Argument(help="Id of the sample.")], as_json: AsJson = False) -> None:
    """Show a sample: where it stands, what is in it, and what was done to it."""
    with _lab() as lab:
        _print(lab.sample(sample_id), as_json, show.sample)


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
    with _lab() as lab:
        answer = lab.request(method, path, data)
    if answer is not None:
        typer.echo(answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False, indent=2))


# --- operators -------------------------------------------------------------------------------------------------


@app.command()
def estop(
    scope: Annotated[str, typer.Argument(help="`lab`, or a module.")] = "lab",
    reason: Annotated[str, typer.Option(help="What is wrong; kept.")] = "",
    as_json: AsJson = False,
) -> None:
    """EMERGENCY STOP: bring every device of the lab, or of one module, to its safe state. Asks nothing back.

    Exit code 0 only if every device has confirmed that it is safe.
    """
    with _lab() as lab:
        answer = lab.estop(scope, reason=reason)
        _print(answer, as_json, _stopped)
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
    with _lab() as lab:
        _print(lab.rearm(note, scope), as_json, lambda _: f"The emergency stop of {scope} is re-armed.")


@app.command()
def locks(as_json: AsJson = False) -> None:
    """List the maintenance locks."""
    with _lab() as lab:
        keys = ("id", "kind", "target", "holder", "reason", "expires_at")
        _print(lab.locks(), as_json, lambda found: show.grid(keys, ([lock[key] for key in keys] for lock in found)))


@app.command()
def lock(
    target: Annotated[str, typer.Argument(help="Id of the device or module.")],
    reason: Annotated[str, typer.Option(prompt=True, help="Why; shown to everybody.")],
    module: Annotated[bool, typer.Option("--module", help="All devices of a module.")] = False,
    until: Annotated[str | None, typer.Option(help="End: ISO date and time with offset.")] = None,
    as_json: AsJson = False,
) -> None:
    """Lock a device or module for maintenance (operators)."""
    with _lab() as lab:
        answer = lab.lock(target, reason, kind="module" if module else "device", expires_at=until)
        _print(answer, as_json, lambda _: f"{target} is locked. Release it with `octolab unlock {answer['id']}`.")


@app.command()
def unlock(
    lock_id: Annotated[str, typer.Argument(help="As `octolab locks` shows it.")], as_json: AsJson = False
) -> None:
    """Release a maintenance lock."""
    with _lab() as lab:
        _print(lab.unlock(lock_id), as_json, lambda _: "Released.")


@app.command()
def clear(
    device: Annotated[str, typer.Argument(help="Id of the device.")],
    note: Annotated[str, typer.Option(prompt="What did you see at the bench?", help="Kept for ever.")],
    as_json: AsJson = False,
) -> None:
    """Release a device from quarantine (operators)."""
    with _lab() as lab:
        _print(lab.clear_device(device, note), as_json, lambda _: f"{device} may be used again.")


@app.command("run")
def run_by_hand(
    task: Annotated[str, typer.Argument(help="module.task, such as uv_vis.home.")],
    reason: Annotated[str, typer.Option(help="Why; part of the job's name.")] = "",
    as_json: AsJson = False,
) -> None:
    """Run a task by hand, as a job of your own with the highest priority (operators)."""
    module, _, name = task.partition(".")
    with _lab() as lab:
        _print(lab.run_by_hand(module, name, reason=reason), as_json, show.job)


@app.command()
def attention(as_json: AsJson = False) -> None:
    """List what waits for an operator's decision."""
    with _lab() as lab:
        _print(lab.attention(), as_json, _attention)


def _attention(found: dict[str, list[dict[str, Any]]]) -> Any:
    late = found.get("late", [])
    if not found["steps"] and not found["devices"] and not late:
        return "Nothing waits for a decision."
    waiting = (*found["steps"], *late)
    steps = ((s["id"], s["job_name"], _step(s), s["blocked_devices"], s["reason"]) for s in waiting)
    return show.grid(("step", "job", "what", "blocked devices", "what is known"), steps)


@app.command()
def approvals(as_json: AsJson = False) -> None:
    """List the jobs that wait for your approval (operators)."""
    with _lab() as lab:
        keys = ("id", "name", "project", "owner", "reason")
        _print(lab.approvals(), as_json, lambda found: show.grid(keys, ([job[key] for key in keys] for job in found)))


@app.command()
def approve(
    job_id: Annotated[str, typer.Argument(help="The job's id, as `octolab approvals` shows it.")],
    note: Annotated[str, typer.Option(help="Kept for ever.")] = "",
    as_json: AsJson = False,
) -> None:
    """Let a job be planned that waits for approval (operators)."""
    with _lab() as lab:
        _print(lab.approve(job_id, note), as_json, lambda _: "Approved.")


@app.command()
def reject(
    job_id: Annotated[str, typer.Argument(help="The job's id, as `octolab approvals` shows it.")],
    note: Annotated[str, typer.Option(prompt="Why not?", help="Its owner is told.")],
    as_json: AsJson = False,
) -> None:
    """Cancel a job that waits for approval (operators)."""
    with _lab() as lab:
        _print(lab.reject(job_id, note), as_json, lambda _: "Rejected; its owner is told.")


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
    with _lab() as lab:
        _print(lab.decide(step_id, decision, note), as_json, lambda _: f"Decided: {decision}.")
