"""Module-level locking with backfilling, as most orchestrators do: a task has its whole module to itself.

Jobs are placed in order of release into the earliest gaps; a module is occupied from the first start to the
last end of a task, standby included.
"""

from __future__ import annotations

from scheduler.planning.plan import Plan
from scheduler.planning.policies.base import Request, judge
from scheduler.planning.table import MaskingTable, arrival_order, say_refusal


def plan(request: Request) -> Plan:
    """Place the jobs in order of release, with modules locked."""
    table = MaskingTable(request.problem, module_locks=True)
    unplaced = {}
    for job in arrival_order(request.problem, table):
        refusal = table.place_job(job.id)
        if refusal is not None:
            refusal = table.place_job(job.id, elastic=True)
        if refusal is not None:
            unplaced[job.id] = say_refusal(table, refusal)
    return judge(request, table.spans(), "backfill", unplaced, tight=request.limits.bounded)
