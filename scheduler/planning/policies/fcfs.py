"""First come, first served, one job in the lab at a time: what a lab without a scheduler does."""

from __future__ import annotations

from scheduler.planning.plan import Plan
from scheduler.planning.policies.base import Request, judge
from scheduler.planning.table import MaskingTable, arrival_order, say_refusal


def plan(request: Request) -> Plan:
    """Place the jobs in order of release, each after all of the one before it."""
    table = MaskingTable(request.problem)
    unplaced = {}
    free_from = max((fixed.end for fixed in request.problem.fixed), default=request.problem.now)
    for job in arrival_order(request.problem, table):
        started = any(table.unit_of[step.id] not in table.job_units[job.id] for step in job.steps())
        floor = {} if started else dict.fromkeys(table.job_units[job.id], free_from)
        refusal = table.place(table.job_units[job.id], floor=floor)
        if refusal is not None:
            refusal = table.place(table.job_units[job.id], floor=floor, elastic=True)
        if refusal is not None:
            unplaced[job.id] = say_refusal(table, refusal)
            continue
        free_from = max(free_from, table.job_span(job.id)[1])
    return judge(request, table.spans(), "fcfs", unplaced, tight=request.limits.bounded)
