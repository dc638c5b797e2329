"""What a planner child can say about a plan. Times are ticks here; it knows ids only, and nobody's name."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from scheduler.planning.bounds import flow_bound
from scheduler.planning.checker import hard_violations
from scheduler.planning.codec import from_data
from scheduler.planning.flow_bound import joint_flow_bound
from scheduler.planning.limits import Limits
from scheduler.planning.objective import Objective
from scheduler.planning.plan import Plan
from scheduler.planning.problem import Blocked, Device, Job, Mode, Problem, Step, Use
from scheduler.process.cycles import is_placeholder
from scheduler.process.filling import settled
from scheduler.process.line import Entrant
from scheduler.process.picture import Picture
from scheduler.process.turns import arrange, rearranged

SEARCH_S = 0.09
"""Real seconds that a what-if is searched, and again the plan in force, to compare like with like."""
BOUND_S = 0.2
PROOF_S = 0.25


def judge(picture: Picture, question: dict[str, Any]) -> dict[str, Any]:
    """Say how good a plan is: its objective, and a proven bound of its weighted flow."""
    problem = picture.problem
    plan = settled(problem, picture.plan)
    objective = Objective(problem, "lab")
    value = objective(plan.starts, plan.ends, plan.modes, len(hard_violations(problem, plan)))
    end_s = time.monotonic() + BOUND_S
    bound = max(flow_bound(problem), joint_flow_bound(problem, guard=True, stop=lambda: time.monotonic() > end_s))
    flow = value[objective.soft_index]
    gap = max(0.0, (flow - bound) / flow) if flow else 0.0
    return {"verdict": {"version": question["version"], "objective": list(value), "bound": bound, "gap": gap}}


def improve(picture: Picture, question: dict[str, Any]) -> dict[str, Any]:
    """Look for a better plan; there are no starts if none was found."""
    from scheduler.planning.policies import make_plan

    incumbent = settled(picture.problem, picture.plan)
    found = make_plan(
        picture.problem,
        question["policy"],
        incumbent=incumbent,
        limits=Limits(wall=float(question["wall_s"]), workers=int(question.get("workers", 1))),
        seed=int(question["seed"]),
    )
    same = all(found.starts.get(name) == start for name, start in incumbent.starts.items())
    return {"starts": {} if same else dict(found.starts), "objective": list(found.objective)}


def why(picture: Picture, question: dict[str, Any]) -> dict[str, Any]:
    """Say what a step waits for, and what would help."""
    found = picture.explainer.why(str(question["step"]))
    remedies = [{"kind": r.kind, "start": r.start, "gain": r.gain, "cost": r.cost} for r in found.remedies]
    return {
        "step": question["step"],
        "reason": found.reason,
        "thing": found.thing,
        "holder_step": found.holder_step,
        "holder_job": found.holder_job,
        "now": picture.problem.now,
        "start": found.start,
        "until": found.until,
        "remedies": remedies,
    }


def what(picture: Picture, question: dict[str, Any]) -> dict[str, Any]:
    """Plan a changed laboratory, or another job, and compare it with the plan in force."""
    if any(question.get(name) for name in ("lose", "gain", "remove", "maintenance")):
        before, problem, after, unplaced = _changed(picture, question)
    else:
        before, problem, after, unplaced = _with_jobs(picture, question)
    there = {job.id for job in picture.problem.jobs}
    old, new = _finishes(picture.problem, before), _finishes(problem, after)
    # What waits for a person or a repair has no true times, before or after.
    stuck = set(question.get("stuck", ()))
    # Sums are of the same jobs, so that nothing gets better because something cannot be done any more.
    both = there - set(unplaced) - stuck
    added = [job for job in problem.jobs if job.id not in there and job.id not in unplaced]
    starts = {job.id: min((after.starts[name] for name in _real(job, after)), default=None) for job in problem.jobs}
    return {
        "jobs": [
            {"job": name, "finish_before": old.get(name), "finish": new[name], "start": starts[name]}
            for name in new
            if name not in unplaced and name not in stuck and (name not in there or new[name] != old.get(name))
        ],
        "unplaced": {name: _plain(why) for name, why in unplaced.items() if name not in stuck},
        "stuck": sorted(stuck & there),
        "steps": {
            name: {"start": after.starts[name], "finish": after.ends[name]}
            for job in added
            for name in _real(job, after)
        },
        "makespan_before": _span(problem, old, both),
        "makespan": _span(problem, new, both | {job.id for job in added}),
        "flow_before": _flow(picture.problem, old, both),
        "flow": _flow(problem, new, both),
        "moved": sum(start != before.starts[name] for name, start in after.starts.items() if name in before.starts),
    }


Change = tuple[Plan, Problem, Plan, Mapping[str, str]]
"""Plan before, problem and plan afterwards, and why which jobs have no place in it."""


def _changed(picture: Picture, question: dict[str, Any]) -> Change:
    """Plan a laboratory that is another one; before and after are searched alike, to compare like with like."""
    from scheduler.planning.policies import make_plan
    from scheduler.planning.whatif import what_if

    problem, limits = picture.problem, Limits(wall=SEARCH_S)
    never = problem.now + (1 << 40)
    maintenance = {
        row["device"]: Blocked(max(problem.now, row["start"]), max(problem.now + 1, row["end"] or never), "maintenance")
        for row in question.get("maintenance", ())
    }
    before = make_plan(problem, "masking", incumbent=picture.plan, limits=limits, seed=1)
    found = what_if(
        _with_more_devices(problem, question.get("gain", ())),
        before,
        add=[from_data(Job, row["job"]) for row in question.get("add", ())],
        lose=question.get("lose", ()),
        remove=question.get("remove", ()),
        maintenance=maintenance,
    )
    after = found.plan
    if not found.unplaced:
        after = make_plan(found.problem, "masking", incumbent=after, limits=limits, seed=1)
    return before, found.problem, after, found.unplaced


def _with_jobs(picture: Picture, question: dict[str, Any]) -> Change:
    """Plan another job exactly as it would be if it were submitted now."""
    problem, turns = picture.problem, picture.turns
    [row] = question["add"]
    job, entrant = from_data(Job, row["job"]), from_data(Entrant, row["entrant"])
    whole = bool(question["whole"]) or not picture.knows(job)
    choice = rearranged(problem, turns, job, entrant, whole=whole)
    if choice is None:
        before, changed, after = picture.settled, replace(problem, jobs=(*problem.jobs, job)), picture.inserted(job)
    else:
        again = question["whole"]
        before = Plan(*arrange(problem, turns, turns.line.standings()).table.spans()) if again else picture.settled
        changed, after = choice.problem, Plan(*choice.table.spans())
    out = [one.id for one in changed.jobs if any(step.id not in after.starts for step in one.steps())]
    return before, changed, after, dict.fromkeys(out, "it has no place in the plan as it is")


def _real(job: Job, plan: Plan) -> list[str]:
    """Return the steps of a job that have a place and are not only expected."""
    return [step.id for step in job.steps() if step.id in plan.starts and not is_placeholder(step.id)]


def _finishes(problem: Problem, plan: Plan) -> dict[str, int]:
    found = {job.id: [plan.ends[name] for name in _real(job, plan)] for job in problem.jobs}
    return {job: max(ends) for job, ends in found.items() if ends}


def _plain(why: str) -> str:
    """Say why a job has no place without the ids of steps, which nobody can read."""
    if "deadline" in why:
        return "it cannot end before its deadline"
    if "in time after" in why:
        return "a step of it cannot start in time after the one that it has to follow"
    return why if why.startswith("it ") else "it needs more than there is"


def _span(problem: Problem, finishes: dict[str, int], of: Iterable[str]) -> int:
    """Return the time until the last of some jobs is done."""
    return max((finishes[name] - problem.now for name in of if name in finishes), default=0)


def _flow(problem: Problem, finishes: dict[str, int], of: Iterable[str]) -> int:
    """Return the sum of flow times of some jobs."""
    names = set(of)
    return sum(finishes[job.id] - job.release for job in problem.jobs if job.id in names and job.id in finishes)


def _with_more_devices(problem: Problem, gain: Iterable[dict[str, str]]) -> Problem:
    """Return the laboratory with further devices, each of which can do whatever another one does."""
    for row in gain:
        like, name = row["like"], row["id"]
        fixed = {item.step for item in problem.fixed}

        def twin(step: Step, like: str = like, name: str = name, fixed: frozenset[str] = frozenset(fixed)) -> Step:
            if step.id in fixed:
                return step
            more = [_on(mode, like, name) for mode in step.modes if any(use.device == like for use in mode.uses)]
            return replace(step, modes=(*step.modes, *more))

        jobs = tuple(
            replace(job, tasks=tuple(replace(task, steps=tuple(map(twin, task.steps))) for task in job.tasks))
            for job in problem.jobs
        )
        problem = replace(problem, jobs=jobs, devices=(*problem.devices, Device(name)))
    return problem


def _on(mode: Mode, like: str, name: str) -> Mode:
    return replace(mode, uses=tuple(Use(name, use.still) if use.device == like else use for use in mode.uses))


def feasible(picture: Picture, question: dict[str, Any]) -> dict[str, Any]:
    """Say whether a laboratory with one job in it is proven to have no plan at all."""
    from scheduler.planning.policies import make_plan

    asked = from_data(Problem, question["job"])
    found = make_plan(asked, "optimal", limits=Limits(wall=PROOF_S), seed=1)
    return {"infeasible": found.status == "infeasible"}
