"""Can a job be done at all, in an empty laboratory? If not: which rules contradict each other, and what would help.

Most jobs have no windows and are not looked at; of the others the table finds most possible within milliseconds, and
each shape of a job is looked at once. A job is refused only for a proof: lags that contradict each other by
themselves, or an exact search in the planner process that leaves no doubt.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import Any

from octolab import later
from scheduler.catalogue import Catalogue
from scheduler.generator import Expansion
from scheduler.generator.rows import StepRow
from scheduler.jobformat.problems import Path, Problems
from scheduler.planning.codec import to_data
from scheduler.planning.infeasible import Infeasible, Rule, explain_infeasible
from scheduler.planning.network import LagCycleError, arcs_of, earliest_starts, job_lags, shortest_duration
from scheduler.planning.problem import Job, Problem
from scheduler.planning.table import MaskingTable
from scheduler.process.answers import job_of
from scheduler.process.equipment import LiveDevice
from scheduler.process.live import LabState
from scheduler.process.problem import make_job, make_problem
from scheduler.process.references import has_reference
from scheduler.services.placement import ask
from scheduler.states import DeviceState

PROOF_S = 3.0
"""How long (real seconds) a proof is waited for; without one the job is accepted."""
MOST_KNOWN = 500

UNANSWERED_S = 5.0
"""Who has not answered is not asked about the same for so long (real seconds)."""

_possible: OrderedDict[Any, None] = OrderedDict()
_said: OrderedDict[Any, tuple[dict[str, Any] | None, float]] = OrderedDict()
"""What the planner process has said of a shape, and when."""


def check_feasible(expansion: Expansion, catalogue: Catalogue, problems: Problems) -> None:
    """Note it if no plan at all keeps the windows of a job."""
    steps = [step for step in expansion.steps if not step.dormant]
    if not any(need["max_s"] is not None for step in steps for need in step.needs):
        return
    if any(has_reference(step.task.parameters) for step in steps):
        return  # How long it takes is known only later.
    shape = _shape(steps)
    if shape in _possible:
        _possible.move_to_end(shape)
        return
    names = _names(steps)
    problem, job = _problem(expansion, steps, names, catalogue)
    if not _contradictory(job):
        if MaskingTable(problem).place_job(job.id) is None:
            _remember(shape)
            return
        proof = _proof(shape, {"ask": "feasible", "problem": to_data(problem)})
        if proof is None:
            return
        if not proof.get("infeasible"):
            _remember(shape)
            return
    found = explain_infeasible(Problem((), problem.devices, problem.resources, tick=problem.tick), job)
    if found is None:
        _remember(shape)
        return
    _tell(found, {name: step for step, name in zip(steps, names.values(), strict=True)}, problems)


def _proof(shape: Any, question: dict[str, Any]) -> dict[str, Any] | None:
    """Return what the planner process says; None if it does not in time. In the web no thread waits for it."""
    said, at_s = _said.get(shape, (None, float("-inf")))
    if said is not None or time.monotonic() - at_s < UNANSWERED_S:
        return said
    if not later.may_wait():
        return ask(question, PROOF_S)

    async def wait() -> None:
        # It blocks, but needs no database: any thread will do.
        _said[shape] = await asyncio.to_thread(ask, question, PROOF_S), time.monotonic()
        while len(_said) > MOST_KNOWN:
            _said.popitem(last=False)

    raise later.NotYetKnown(wait)


def _remember(shape: Any) -> None:
    _possible[shape] = None
    if len(_possible) > MOST_KNOWN:
        _possible.popitem(last=False)


def _shape(steps: list[StepRow]) -> Any:
    """Return all that decides whether a job is possible, without its ids."""
    number = {str(step.id): n for n, step in enumerate(steps)}
    samples: dict[Any, int] = {}
    return tuple(
        (
            step.duration_s,
            number[str(step.block)],
            tuple(step.devices.items()),
            tuple(step.takes),
            tuple(step.frees),
            tuple(step.settings.items()),
            tuple(samples.setdefault(sample.id, len(samples)) for sample in step.task.samples),
            tuple((number.get(str(need["step"])), need["min_s"], need["max_s"]) for need in step.needs),
        )
        for step in steps
    )


def _names(steps: list[StepRow]) -> dict[str, str]:
    """Return step id → what people call the step."""
    found: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for step in steps:
        whose = f" of {step.task.samples[0].name}" if len(step.task.samples) == 1 else ""
        name = f"{step.task.key} · {step.name}{whose}"
        seen[name] += 1
        found[str(step.id)] = name if seen[name] == 1 else f"{name} ({seen[name]})"
    return found


def _problem(
    expansion: Expansion, steps: list[StepRow], names: dict[str, str], catalogue: Catalogue
) -> tuple[Problem, Job]:
    """Return an empty laboratory with the job in it."""
    job_row = {"id": "this job", "priority": 0, "manifests": {}, "submitted": 0.0}
    fields = ("index", "name", "module", "task_name", "action", "dormant", "devices", "takes", "frees", "settings")
    rows = []
    for step in steps:
        needs = [{**need, "step": names[str(need["step"])]} for need in step.needs if str(need["step"]) in names]
        row = {name: getattr(step, name) for name in fields} | {"needs": needs, "duration_s": step.duration_s}
        rows.append({**row, "id": names[str(step.id)], "block": names[str(step.block)]})
    members = [
        [names[str(step.id)], str(step.task.id), None if sample is None else str(sample.id)]
        for step in steps
        for sample in (list[Any](step.task.samples) or [None])
    ]
    live = job_of({"job": job_row, "steps": rows, "members": members}, 0.0)
    state = LabState()
    for name in {name for step in steps for name in step.devices}:
        state.devices[name] = LiveDevice(name, "", host_says=DeviceState.IDLE)
    state.manifests = live.manifests = {step.module: "" for step in steps}
    for name in {name for step in steps for name in (*step.takes, *step.frees)}:
        if name in catalogue.places:
            for index in range(catalogue.places[name].capacity):
                state.places.add(name, index)
    job = make_job(state, live, 0, set())
    if job is None:
        raise ValueError("a job without steps is no question")
    problem = make_problem(state, 0.0, [live])
    return problem, job


def _contradictory(job: Job) -> bool:
    """Whether the lags alone, without any device, cannot be kept."""
    shortest = {step.id: shortest_duration(step) for step in job.steps()}
    longest = {step.id: max(mode.duration for mode in step.modes) for step in job.steps()}
    try:
        earliest_starts(shortest, arcs_of(job_lags(job), shortest, longest), dict.fromkeys(shortest, 0))
    except LagCycleError:
        return True
    return False


def _tell(found: Infeasible, steps: dict[str, StepRow], problems: Problems) -> None:
    """Note the conflict at each window of the workflow that is part of it."""
    text = f"This cannot be done even in an empty laboratory. {'; '.join(dict.fromkeys(found.sentences))}."
    if found.proposal:
        text += f" It {found.proposal}."
    paths = list(dict.fromkeys(_paths(found.conflict, steps)))
    for path in paths or [("workflow",)]:
        problems.add(path, text)


def _paths(rules: Iterable[Rule], steps: dict[str, StepRow]) -> Iterable[Path]:
    for rule in rules:
        if rule.kind == "window":
            first, _, second, _ = rule.name.split("|")
            step = steps[second]
            between = steps[first].task.id != step.task.id
            yield ("workflow", step.task.index, "within") if between else ("workflow", step.task.index)
