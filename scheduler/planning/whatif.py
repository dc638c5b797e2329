"""What if? Another job, a lost device, a maintenance window, planned against the live queue and not kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from scheduler.planning.objective import job_finishes
from scheduler.planning.plan import Diff, Plan, diff
from scheduler.planning.problem import Blocked, Device, Job, Problem
from scheduler.planning.repair import repair


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The consequences: the plan as it would be, its difference, finishes in ticks, jobs without a place."""

    problem: Problem
    plan: Plan
    diff: Diff
    finishes: Mapping[str, int]
    unplaced: Mapping[str, str]


def what_if(
    problem: Problem,
    plan: Plan,
    *,
    add: Iterable[Job] = (),
    remove: Iterable[str] = (),
    lose: Iterable[str] = (),
    gain: Iterable[Device] = (),
    maintenance: Mapping[str, Blocked] | None = None,
) -> WhatIf:
    """Plan a changed laboratory around the plan in force.

    Parameters
    ----------
    problem, plan
        As they stand; neither is changed.
    add, remove
        Jobs that would come, and ids of jobs that would go.
    lose
        Devices that would not be available from now on.
    gain
        Devices that would be there too; steps use them if they name them in a mode.
    maintenance
        A blocked time by device.
    """
    gone = set(remove)
    lost = set(lose)
    never = 1 << 40
    devices = []
    for device in (*problem.devices, *gain):
        blocked = device.blocked
        if device.id in lost:
            blocked = (*blocked, Blocked(problem.now, problem.now + never, "lost"))
        if maintenance and device.id in maintenance:
            blocked = (*blocked, maintenance[device.id])
        devices.append(replace(device, blocked=blocked))
    names = {step.id for job in problem.jobs if job.id in gone for step in job.steps()}
    changed = replace(
        problem,
        jobs=(*(job for job in problem.jobs if job.id not in gone), *add),
        devices=tuple(devices),
        fixed=tuple(item for item in problem.fixed if item.step not in names),
        lags=tuple(lag for lag in problem.lags if lag.first not in names and lag.second not in names),
    )
    table, unplaced = repair(changed, plan)
    starts, ends, modes = table.spans()
    for job in changed.jobs:
        # Behind the end of a lost device lies nothing real.
        if any(ends.get(step.id, 0) >= problem.now + never for step in job.steps()):
            unplaced[job.id] = "it needs a device that is not there"
            for step in job.steps():
                for table_ in (starts, ends, modes):
                    table_.pop(step.id, None)
    found = Plan(starts, ends, modes, method="what if", base=plan.version, unplaced=unplaced)
    return WhatIf(changed, found, diff(changed, plan, found), job_finishes(changed, found), unplaced)
