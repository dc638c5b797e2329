"""The command line: ``python -m scheduler.planning solve|check|bench|show``."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from scheduler.planning import gantt
from scheduler.planning.checker import check as check_plan
from scheduler.planning.codec import DecodeError, dump_plan, from_data, load_plan
from scheduler.planning.formats import READERS, FormatError, read
from scheduler.planning.formats.text import read_text
from scheduler.planning.limits import Limits
from scheduler.planning.objective import ObjectiveName
from scheduler.planning.plan import Plan
from scheduler.planning.policies import POLICIES, UnknownPolicyError, make_plan
from scheduler.planning.problem import Problem, ProblemError
from scheduler.planning.validate import validate

PUBLIC_DATA = (Path("benchmarks"), Path("..") / "shared" / "benchmarks")
"""Where the public instances may lie, seen from the working directory."""

app = typer.Typer(help="Plan laboratory work: a problem in, a checked plan out.", no_args_is_help=True)
console = Console()
errors = Console(stderr=True)

FileArgument = Annotated[Path, typer.Argument(help="Problem file; for slab a folder.", show_default=False)]
FormatOption = Annotated[str, typer.Option("--format", help=" | ".join(READERS))]
CopiesOption = Annotated[int, typer.Option(min=1, max=10_000, help="Repeat every job (S-LAB's xN).")]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]


@contextmanager
def _answered() -> Iterator[None]:
    """Say what is wrong with what was asked, in one line, and end with code 2."""
    try:
        yield
    except (FormatError, DecodeError, ProblemError, UnknownPolicyError) as error:
        _refuse(str(error), error)
    except OSError as error:
        _refuse(f"{error.filename or 'file'}: {error.strerror or error}", error)


def _refuse(sentence: str, cause: Exception | None = None) -> NoReturn:
    errors.print(Text(sentence, style="red"), soft_wrap=True)
    raise typer.Exit(2) from cause


def _limit(value: float | None) -> float | None:
    """Accept a limit: a number of seconds or units of work, not negative."""
    if value is not None and not 0 <= value < math.inf:
        raise typer.BadParameter(f"{value} is no limit; it must be a number that is not negative")
    return value


def _objective(name: str) -> ObjectiveName:
    if name == "makespan":
        return "makespan"
    if name == "flow":
        return "flow"
    if name == "lab":
        return "lab"
    _refuse(f"no objective is called {name!r}; there are makespan, flow and lab")


@app.command()
def solve(
    file: FileArgument,
    form: FormatOption = "octolab",
    copies: CopiesOption = 1,
    policy: Annotated[str, typer.Option(help=" | ".join(POLICIES))] = "optimal",
    objective: Annotated[str, typer.Option(help="makespan | flow | lab")] = "",
    time_limit: Annotated[float | None, typer.Option(help="Seconds of wall time.", callback=_limit)] = None,
    cpu_limit: Annotated[float | None, typer.Option(help="Seconds of process time.", callback=_limit)] = None,
    deterministic_limit: Annotated[float | None, typer.Option(help="Units of counted work.", callback=_limit)] = None,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Threads of the solver.")] = 2,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Everything random follows from it.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the plan to this file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Plan a problem and report status, objective, bound, gap, starts and modes.

    The default objective is makespan for the instance formats and lab for octolab's own. Exit code 1: no
    feasible plan was found.
    """
    with _answered():
        problem = read(file, form, copies)
    name = _objective(objective or ("lab" if form == "octolab" else "makespan"))
    limits = Limits(time_limit, cpu_limit, deterministic_limit, workers)
    if not limits.bounded:
        limits = Limits(wall=10.0, workers=workers)
    begin = time.perf_counter()
    with _answered():
        plan = _with_progress(
            lambda tell: make_plan(problem, policy, limits=limits, seed=seed, objective=name, progress=tell),
            quiet=as_json,
        )
    seconds = time.perf_counter() - begin
    if out is not None:
        with _answered():
            out.write_text(dump_plan(plan), encoding="utf-8")
    if as_json:
        typer.echo(json.dumps(answer(problem, plan, seconds)))
    else:
        _report(problem, plan, seconds)
    if plan.status in ("infeasible", "unknown"):
        raise typer.Exit(1)


def answer(problem: Problem, plan: Plan, seconds: float) -> dict[str, Any]:
    """Return what ``solve --json`` prints; starts and modes stand by operation in file order."""
    names = [step.id for step in problem.steps()]
    feasible = bool(plan.objective) and plan.objective[0] == 0
    return {
        "status": plan.status,
        "objective": plan.objective[2] if feasible else None,
        "objective_name": plan.objective_name,
        "objective_tuple": list(plan.objective),
        "bound": plan.bound,
        "gap": plan.gap,
        "makespan": plan.makespan if feasible else None,
        "starts": [plan.starts.get(name) for name in names],
        "modes": [plan.modes.get(name) for name in names],
        "steps": names,
        "method": plan.method,
        "seed": plan.seed,
        "tick_seconds": problem.tick,
        "unplaced": dict(plan.unplaced),
        "seconds": round(seconds, 3),
    }


def _with_progress(run: Callable[[Callable[[float, Plan], None]], Plan], *, quiet: bool) -> Plan:
    if quiet:
        return run(lambda _spent, _plan: None)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True) as progress:
        task = progress.add_task("planning", total=1.0)

        def tell(spent: float, plan: Plan) -> None:
            progress.update(task, completed=min(1.0, spent), description=f"best {plan.objective}")

        return run(tell)


def _report(problem: Problem, plan: Plan, seconds: float) -> None:
    gap = "unknown" if plan.gap is None else f"{100 * plan.gap:.1f} %"
    console.print(f"{problem.name or 'problem'}: {plan.status} by {plan.method} in {seconds:.2f} s", markup=False)
    console.print(f"{plan.objective_name} {plan.objective}, bound {plan.bound}, gap {gap}")
    for job, reason in plan.unplaced.items():
        console.print(Text(f"job {job} has no place: {reason}", style="red"))
    console.print(gantt.text(problem, plan, console.width), highlight=False, markup=False)


@app.command()
def check(
    file: FileArgument,
    plan_file: Annotated[Path, typer.Argument(metavar="PLAN", help="Plan file, as `solve --out` writes it.")],
    form: FormatOption = "octolab",
    copies: CopiesOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Verify a plan against its problem and name every violation. Exit code 1: the plan must not be used."""
    with _answered():
        problem = read(file, form, copies)
        validate(problem)
        plan = _plan(plan_file, problem)
    found = check_plan(problem, plan)
    hard = [violation for violation in found if violation.hard]
    if as_json:
        rows = [{"kind": v.kind, "hard": v.hard, "sentence": v.sentence, "amount": v.amount} for v in found]
        typer.echo(json.dumps({"valid": not hard, "makespan": plan.makespan, "violations": rows}))
    else:
        for violation in found:
            style = "red" if violation.hard else "yellow"
            console.print(Text.assemble((violation.kind, style), f": {violation}"))
        verdict = ("must not be used", "red") if hard else ("keeps every rule", "green")
        console.print(Text.assemble(f"{plan_file}: ", verdict, f"; makespan {plan.makespan}"))
    if hard:
        raise typer.Exit(1)


def _plan(path: Path, problem: Problem | None = None) -> Plan:
    """Read a plan file, or the JSON answer of `solve` if the problem is at hand."""
    text = read_text(path)
    try:
        data = json.loads(text)
        if problem is not None and isinstance(data, dict) and isinstance(data.get("starts"), list):
            return _plan_of_answer(problem, data)
        return load_plan(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path} is no plan: {error}") from error


def _plan_of_answer(problem: Problem, data: dict[str, Any]) -> Plan:
    steps = list(problem.steps())
    rows = from_data(tuple[int | None, ...], data["starts"], "starts")
    chosen = from_data(tuple[int | None, ...], data.get("modes"), "modes")
    if not len(steps) == len(rows) == len(chosen):
        raise ValueError(f"there are {len(steps)} steps, but {len(rows)} starts and {len(chosen)} modes")
    starts, ends, modes = {}, {}, {}
    fixed = {item.step: item for item in problem.fixed}
    for step, start, mode in zip(steps, rows, chosen, strict=True):
        if start is None or mode is None:
            continue
        if not 0 <= mode < len(step.modes):
            raise ValueError(f"step {step.id} has no mode {mode}")
        starts[step.id], modes[step.id] = start, mode
        ends[step.id] = fixed[step.id].end if step.id in fixed else start + step.modes[mode].duration
    return Plan(starts, ends, modes)


@app.command()
def show(
    plan_file: Annotated[Path, typer.Argument(metavar="PLAN", help="Plan file.")],
    problem_file: Annotated[Path | None, typer.Option("--problem", help="The problem: rows are devices.")] = None,
    form: FormatOption = "octolab",
    copies: CopiesOption = 1,
    svg: Annotated[Path | None, typer.Option(help="Write a Gantt chart to this SVG file.")] = None,
) -> None:
    """Draw a plan in the terminal, and as SVG if asked."""
    with _answered():
        given = None if problem_file is None else read(problem_file, form, copies)
        if given is not None:
            validate(given)
        plan = _plan(plan_file, given)
        _drawable(plan, given)
    problem = given or gantt.stand_in(plan)
    console.print(gantt.text(problem, plan, console.width), highlight=False, markup=False)
    if svg is not None:
        with _answered():
            svg.write_text(gantt.svg(problem, plan), encoding="utf-8")
        console.print(f"wrote {svg}", markup=False)


def _drawable(plan: Plan, problem: Problem | None) -> None:
    modes = {step.id: len(step.modes) for step in problem.steps()} if problem else {}
    for step, mode in plan.modes.items():
        if not 0 <= mode < modes.get(step, mode + 1):
            raise FormatError(f"step {step} has no mode {mode}")


@app.command()
def bench(
    suite: Annotated[str, typer.Argument(help="Name of a suite, `list`, or `all`.")] = "all",
    data: Annotated[
        Path | None, typer.Option(envvar="OCTOLAB_BENCHMARKS", help="Folder with the public instances.")
    ] = None,
    cpu: Annotated[float | None, typer.Option(help="CPU seconds for each planning call; else what fits.")] = None,
    policy: Annotated[str, typer.Option(help="Policy that is measured.")] = "optimal",
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of random loads.")] = 2,
    count: Annotated[int, typer.Option(min=1, help="Problems whose improver is killed.")] = 1000,
    as_json: JsonOption = False,
) -> None:
    """Measure planners and print ours, the baselines and the best known values side by side."""
    from scheduler.planning.bench import SUITES, Settings

    if suite != "all" and suite not in SUITES:
        for name, entry in SUITES.items():
            text = (entry.run.__doc__ or "").splitlines()[0]
            console.print(f"[bold]{name:12}[/bold] about {entry.minutes:4.1f} CPU min  {text}", highlight=False)
        raise typer.Exit(0 if suite == "list" else 2)
    data = data or next((path for path in PUBLIC_DATA if path.is_dir()), None)
    tables = {}
    for name in SUITES if suite == "all" else (suite,):
        entry = SUITES[name]
        if entry.public_data and data is None:
            errors.print(f"{name} needs --data, the folder with the published benchmarks: skipped")
            continue
        begin = time.process_time()
        table = entry.run(Settings(data, entry.cpu if cpu is None else cpu, policy, seeds, count, console))
        table.notes.append(f"{name}: {time.process_time() - begin:.0f} CPU s")
        tables[name] = table.data()
        if not as_json:
            table.show(console)
    if as_json:
        typer.echo(json.dumps(tables if suite == "all" else tables.get(suite, {})))
    if not tables:
        raise typer.Exit(2)
