"""A laboratory that does not keep to its plan: noise, failures, and whether the windows hold."""

from __future__ import annotations

from dataclasses import replace

from scheduler.planning.bench.report import Settings, Table
from scheduler.planning.limits import Limits
from scheduler.planning.problem import Problem
from scheduler.planning.simulate import Disturbance, Simulation, soften
from scheduler.planning.workloads.generator import make_load

HOUR = 120
"""Ticks of the synthetic loads in an hour."""


def noise(settings: Settings) -> Table:
    """Online loads with 15 % duration noise and failing devices."""
    columns = ("load", "flow h", "windows", "breached %", "avoidable", "failures", "repairs", "repair max ms")
    table = Table("noise and failures with re-planning", columns)
    for seed in settings.each(range(1, settings.seeds + 1), "noise"):
        problem = loose(soften(make_load(30, seed, rho=0.6)))
        trouble = Disturbance(sigma=0.15, failures_per_hour=0.01)
        limits = Limits(cpu=settings.cpu)
        outcome = Simulation(problem, settings.policy, limits=limits, disturbance=trouble, seed=seed).run()
        share = 100 * outcome.breached / max(1, outcome.windows)
        worst = 1000 * max(outcome.repair_seconds, default=0.0)
        row = (outcome.windows, share, outcome.avoidable, outcome.failures, outcome.repairs, worst)
        table.add(problem.name, outcome.mean_flow(problem) / HOUR, *row)
    return table


def loose(problem: Problem) -> Problem:
    """Return the problem with gaps inside tasks elastic: only windows between tasks are promises."""
    jobs = []
    for job in problem.jobs:
        tasks = tuple(
            replace(task, steps=tuple(replace(step, max_gap=None, gap_cost=None) for step in task.steps))
            for task in job.tasks
        )
        jobs.append(replace(job, tasks=tasks))
    return replace(problem, jobs=tuple(jobs))
