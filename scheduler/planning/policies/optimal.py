"""The best plan that can be found in the time: CP-SAT on the near horizon and large-neighbourhood search.

The search starts from the masking policy's plan, or from the plan in force if that is better, and keeps it
outside the solver: what comes back is never worse.
"""

from __future__ import annotations

from dataclasses import replace

from scheduler.planning.improve import Improver
from scheduler.planning.limits import PLACEMENTS_PER_UNIT, Clock, Limits
from scheduler.planning.plan import Plan
from scheduler.planning.policies import masking
from scheduler.planning.policies.base import Request

DEFAULT = Limits(deterministic=2.0)
"""What an unlimited request gets."""
MASKING_SHARE = 0.1
"""Share of the limits for the order search that the solver starts from."""


def plan(request: Request) -> Plan:
    """Search within the limits, and return the best plan found or the incumbent."""
    limits = request.limits
    if not limits.bounded:
        limits = replace(DEFAULT, workers=limits.workers, patience=limits.patience, stop=limits.stop)
        request = replace(request, limits=limits)
    clock = Clock(limits)
    start = masking.plan(replace(request, limits=_part(limits, MASKING_SHARE)))
    if limits.deterministic is not None:
        clock.work = int(limits.deterministic * MASKING_SHARE * PLACEMENTS_PER_UNIT)
    return Improver(request, start, clock).run()


def _part(limits: Limits, share: float) -> Limits:
    def of(limit: float | None) -> float | None:
        return None if limit is None else limit * share

    return replace(limits, wall=of(limits.wall), cpu=of(limits.cpu), deterministic=of(limits.deterministic))
