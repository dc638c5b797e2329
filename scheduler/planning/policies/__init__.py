"""Policies by name, and the one function that runs them.

A policy is a function ``plan(request) -> Plan``. It is imported when it is first asked for, so that a process
that only uses the table never loads a solver.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from scheduler.planning.limits import Limits
from scheduler.planning.objective import ObjectiveName
from scheduler.planning.plan import Plan
from scheduler.planning.policies.base import Request
from scheduler.planning.problem import Problem
from scheduler.planning.validate import validate

POLICIES: dict[str, str] = {
    "fcfs": "scheduler.planning.policies.fcfs",
    "backfill": "scheduler.planning.policies.backfill",
    "closed_packing": "scheduler.planning.policies.closed_packing",
    "masking": "scheduler.planning.policies.masking",
    "optimal": "scheduler.planning.policies.optimal",
}
"""Module of each policy; it has a function `plan`."""


class UnknownPolicyError(KeyError):
    """No policy has this name."""

    def __str__(self) -> str:
        return f"no policy is called {self.args[0]!r}; there are {', '.join(sorted(POLICIES))}"


def make_plan(
    problem: Problem,
    policy: str = "masking",
    *,
    incumbent: Plan | None = None,
    limits: Limits | None = None,
    seed: int = 0,
    objective: ObjectiveName = "lab",
    progress: Callable[[float, Plan], None] | None = None,
) -> Plan:
    """Plan a problem.

    Parameters
    ----------
    problem
        What to plan; it is validated first.
    policy
        A name in `POLICIES`.
    incumbent
        The plan in force. The answer is never worse by the objective, and its churn is counted against it.
    limits
        Bounds on the effort; by default what the policy does without any search to speak of.
    seed
        Everything random follows from it.
    objective
        What to minimise, see `scheduler.planning.objective`.
    progress
        Called with the fraction of the limit used and each better plan.

    Returns
    -------
    Plan
        Always a plan; steps of jobs for which there is no place are missing and named in `Plan.unplaced`.

    Raises
    ------
    ProblemError
        If the problem is malformed.
    UnknownPolicyError
        If no policy has this name.
    """
    if policy not in POLICIES:
        raise UnknownPolicyError(policy)
    validate(problem)
    run = import_module(POLICIES[policy]).plan
    return run(Request(problem, incumbent, limits or Limits(), seed, objective, progress))


__all__ = ["POLICIES", "Request", "UnknownPolicyError", "make_plan"]
