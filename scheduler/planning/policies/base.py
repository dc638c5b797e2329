"""What all policies share: the request, and how reservations become a judged plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from scheduler.planning.bounds import lower_bound
from scheduler.planning.checker import hard_violations
from scheduler.planning.flow_bound import joint_flow_bound
from scheduler.planning.limits import Limits
from scheduler.planning.objective import Objective, ObjectiveName
from scheduler.planning.plan import Plan
from scheduler.planning.problem import Problem


@dataclass(frozen=True, slots=True)
class Request:
    """One call of a policy; see `scheduler.planning.policies.make_plan` for the fields."""

    problem: Problem
    incumbent: Plan | None = None
    limits: Limits = field(default_factory=Limits)
    seed: int = 0
    objective: ObjectiveName = "lab"
    progress: Callable[[float, Plan], None] | None = None


Spans = tuple[Mapping[str, int], Mapping[str, int], Mapping[str, int]]


def judge(
    request: Request, spans: Spans, method: str, unplaced: Mapping[str, str] | None = None, *, tight: bool = False
) -> Plan:
    """Turn starts, ends and modes into a plan with its objective, bound and gap.

    With `tight` a better bound of the flow is worth some tens of milliseconds.
    """
    problem = request.problem
    starts, ends, modes = spans
    plan = Plan(dict(starts), dict(ends), dict(modes), objective_name=request.objective)
    hard = len(hard_violations(problem, plan))
    objective = Objective(problem, request.objective, request.incumbent)
    value = objective(starts, ends, modes, hard)
    bound = lower_bound(problem, request.objective)
    if tight and request.objective != "makespan":
        stop = request.limits.stop
        bound = max(bound, joint_flow_bound(problem, guard=request.objective == "lab", stop=stop))
    leading = value[objective.soft_index]
    gap = None if hard else (max(0, leading - bound) / leading if leading else 0.0)
    return replace(
        plan,
        objective=value,
        bound=bound,
        gap=gap,
        status="unknown" if hard else "optimal" if gap == 0 and not value[1] else "feasible",
        method=method,
        seed=request.seed,
        version=(request.incumbent.version if request.incumbent else 0) + 1,
        base=request.incumbent.version if request.incumbent else 0,
        weights={job.id: job.weight for job in problem.jobs},
        unplaced=dict(unplaced or {}),
    )


def rejudge(request: Request, plan: Plan) -> Plan | None:
    """Judge the incumbent for the request's problem, or return `None` if it no longer covers its steps."""
    names = [step.id for step in request.problem.steps()]
    if any(name not in plan.starts or name not in plan.ends for name in names):
        return None
    fixed = {item.step: item for item in request.problem.fixed}
    starts = {name: fixed[name].start if name in fixed else plan.starts[name] for name in names}
    ends = {name: fixed[name].end if name in fixed else plan.ends[name] for name in names}
    modes = {name: fixed[name].mode if name in fixed else plan.modes.get(name, 0) for name in names}
    return judge(request, (starts, ends, modes), plan.method)


def better(one: Plan, other: Plan | None) -> Plan:
    """Return the better plan by the ordered tuple; the older one, `other`, if they are equal."""
    return one if other is None or one.objective < other.objective else other
