"""What a planner child can say about a plan. Times are ticks here; it knows ids only, and nobody's name."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from scheduler.planning.bounds import flow_bound
from scheduler.planning.checker import hard_violations
from scheduler.planning.codec import from_data
from scheduler.planning.flow_bound import joint_flow_bound
from scheduler.planning.limits import Limits
from scheduler.planning.objective import Objective, job_finishes
from scheduler.planning.plan import Plan
from scheduler.planning.problem import Blocked, Device, Job, Mode, Problem, Step, Use
from scheduler.process.filling import settled

SEARCH_S = 0.09
"""Real seconds that a what-if is searched, and again the plan in force, to compare like with like."""
BOUND_S = 0.2
PROOF_S = 0.25


def read(question: dict[str, Any]) -> tuple[Problem, Plan]:
    """Return the problem and the plan that a question brings along."""
    return from_data(Problem, question["problem"]), from_data(Plan, question["plan"])


def judge(problem: Problem, plan: Plan, question: dict[str, Any]) -> dict[str, Any]:
    """Say how good a plan is: its objective, and a proven bound of its weighted flow."""
    plan = settled(problem, plan)
    objective = Objective(problem, "lab")
    value = objective(plan.starts, plan.ends, plan.modes, len(hard_violations(problem, plan)))
    end_s = time.monotonic() + BOUND_S
    bound = max(flow_bound(problem), joint_flow_bound(problem, guard=True, stop=lambda: time.monotonic() > end_s))
    flow = value[objective.soft_index]
    gap = max(0.0, (flow - bound) / flow) if flow else 0.0
    return {"verdict": {"version": question["version"], "objective": list(value), "bound": bound, "gap": gap}}


def improve(problem: Problem, plan: Plan, question: dict[str, Any]) -> dict[str, Any]:
    """Look for a better plan; there are no starts if none was found."""
    from scheduler.planning.policies import make_plan

    incumbent = settled(problem, plan)
    found = make_plan(
        problem,
        question["policy"],
        incumbent=incumbent,
        limits=Limits(wall=float(question["wall_s"]), workers=int(question.get("workers", 1))),
        seed=int(question["seed"]),
    )
    same = all(found.starts.get(name) == start for name, start in incumbent.starts.items())
    return {"starts": {} if same else dict(found.starts), "objective": list(found.objective)}


def why(problem: Problem, plan: Plan, question: dict[str, Any]) -> dict[str, Any]:
    """Say what a step waits for, and what would help."""
    from scheduler.planning.explain import why_waiting

    found = why_waiting(problem, plan, str(question["step"]), remedies=question.get("remedies", True))
    remedies = [{"kind": r.kind, "start": r.start, "gain": r.gain, "cost": r.cost} for r in found.remedies]
    return {
        "step": question["step"],
        "reason": found.reason,
        "thing": found.thing,
        "holder_step": found.holder_step,
        "holder_job": found.holder_job,
        "now": problem.now,
        "start": found.start,
        "until": found.until,
        "remedies": remedies,
    }


def what(problem: Problem, plan: Plan, question: dict[str, Any]) -> dict[str, Any]:
    """Plan a changed laboratory, and compare it with the plan in force."""
    from scheduler.planning.policies import make_plan
    from scheduler.planning.whatif import what_if

    add = [from_data(Job, row) for row in question.get("add", ())]
    never = problem.now + (1 << 40)
    maintenance = {
        row["device"]: Blocked(max(problem.now, row["start"]), max(problem.now + 1, row["end"] or never), "maintenance")
        for row in question.get("maintenance", ())
    }
    limits = Limits(wall=SEARCH_S)
    before = make_plan(problem, "masking", incumbent=plan, limits=limits, seed=1)
    wider = _with_more_devices(problem, question.get("gain", ()))
    found = what_if(
        wider,
        before,
        add=add,
        lose=question.get("lose", ()),
        remove=question.get("remove", ()),
        maintenance=maintenance,
    )
    after = found.plan
    if not found.unplaced:
        after = make_plan(found.problem, "masking", incumbent=after, limits=limits, seed=1)
    old, new = job_finishes(problem, before), job_finishes(found.problem, after)
    there = {job.id for job in problem.jobs}
    # What waits for a person or a repair has no true times, before or after.
    stuck = set(question.get("stuck", ()))
    # Sums are of the same jobs, so that nothing gets better because something cannot be done any more.
    both = there - set(found.unplaced) - stuck
    added = {job.id for job in found.problem.jobs} - there - set(found.unplaced)
    starts = {
        job.id: min((after.starts[step.id] for step in job.steps() if step.id in after.starts), default=None)
        for job in found.problem.jobs
    }
    return {
        "jobs": [
            {"job": name, "finish_before": old.get(name), "finish": new[name], "start": starts[name]}
            for name in new
            if name not in found.unplaced and name not in stuck and (name not in there or new[name] != old.get(name))
        ],
        "unplaced": {name: _plain(why) for name, why in found.unplaced.items() if name not in stuck},
        "stuck": sorted(stuck & there),
        "makespan_before": _span(problem, old, both),
        "makespan": _span(problem, new, both | added),
        "flow_before": _flow(problem, old, both),
        "flow": _flow(found.problem, new, both),
        "moved": sum(start != before.starts[name] for name, start in after.starts.items() if name in before.starts),
    }


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


def feasible(problem: Problem, plan: Plan, question: dict[str, Any]) -> dict[str, Any]:
    """Say whether a laboratory with one job in it is proven to have no plan at all."""
    from scheduler.planning.policies import make_plan

    asked = from_data(Problem, question["job"])
    found = make_plan(asked, "optimal", limits=Limits(wall=PROOF_S), seed=1)
    return {"infeasible": found.status == "infeasible"}
