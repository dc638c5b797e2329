"""The best plan that can be found in the time: CP-SAT on the near horizon and large-neighbourhood search.

The search starts from the masking policy's plan, or from the plan in force if that is better, and keeps it
outside the solver: what comes back is never worse.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from scheduler.planning.improve import WHOLE_STEPS, Improver
from scheduler.planning.limits import PLACEMENTS_PER_UNIT, Clock, Limits
from scheduler.planning.plan import Plan
from scheduler.planning.policies import masking
from scheduler.planning.policies.base import Request

Progress = Callable[[float, Plan], None]

DEFAULT = Limits(deterministic=2.0)
"""What an unlimited request gets."""
FLOW_SHARE, SMALL_FLOW_SHARE, MAKESPAN_SHARE = 0.2, 0.1, 0.05
MASKING_STEP = 0.005
"""Share of the limits for the order search that the solver starts from, and its most for each step, in
seconds or units of counted work. Its orders of jobs are good at flows, dispatching at makespans."""


def plan(request: Request) -> Plan:
    """Search within the limits, and return the best plan found or the incumbent."""
    limits = request.limits
    if not limits.bounded:
        limits = replace(DEFAULT, workers=limits.workers, patience=limits.patience, stop=limits.stop)
        request = replace(request, limits=limits)
    clock = Clock(limits)
    fixed = {item.step for item in request.problem.fixed}
    steps = sum(step.id not in fixed for step in request.problem.steps())
    share = MAKESPAN_SHARE if request.objective == "makespan" else _flow_share(steps)
    part = _part(limits, share, MASKING_STEP * steps)
    start = masking.plan(replace(request, limits=part, progress=_scaled(request.progress, share)), tight=False)
    if part.deterministic is not None:
        clock.work = int(part.deterministic * PLACEMENTS_PER_UNIT)
    return Improver(request, start, clock).run()


def _flow_share(steps: int) -> float:
    """Return the share of the order search: while the solver takes on the whole it needs no good start."""
    return SMALL_FLOW_SHARE if steps <= WHOLE_STEPS else FLOW_SHARE


def _scaled(progress: Progress | None, share: float) -> Progress | None:
    """Count the order search as the first part of the whole."""
    if progress is None:
        return None
    return lambda spent, plan: progress(min(1.0, spent) * share, plan)


def _part(limits: Limits, share: float, most: float) -> Limits:
    def of(limit: float | None) -> float | None:
        return None if limit is None else min(limit * share, most)

    return replace(limits, wall=of(limits.wall), cpu=of(limits.cpu), deterministic=of(limits.deterministic))
