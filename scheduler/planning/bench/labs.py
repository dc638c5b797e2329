"""Laboratory workloads: OCTOPUS's experiments, batch and online loads, noise, fair share, predictions."""

from __future__ import annotations

import json
import random
import time
from dataclasses import replace
from typing import Any

from scheduler.planning.bench.report import Settings, Table
from scheduler.planning.bounds import flow_bound, makespan_bound
from scheduler.planning.checker import check
from scheduler.planning.limits import Limits
from scheduler.planning.network import alone
from scheduler.planning.objective import ObjectiveName, mean_weighted_flow
from scheduler.planning.policies import make_plan
from scheduler.planning.problem import Problem
from scheduler.planning.simulate import Outcome, Simulation
from scheduler.planning.workloads.generator import make_load
from scheduler.planning.workloads.octopus import experiment_a, experiment_b, submissions
from scheduler.planning.workloads.octopus_replay import Replay, first_come, sum_flow_hours, time_alone

HOUR = 120
"""Ticks of the synthetic loads in an hour."""


def octopus(settings: Settings) -> Table:
    """OCTOPUS's experiments A and B: published, reproduced and ours."""
    data = json.loads((settings.folder() / "octopus-experiments.json").read_text(encoding="utf-8"))
    table = Table("OCTOPUS (sum of flow in h)", ("experiment", "policy", "sum of flow", "makespan", "published"))
    limits = Limits(cpu=settings.cpu)
    for parallel in (False, True):
        problem = experiment_a(data["A"], parallel=parallel)
        published = data["A"]["published"]["sum_flow_parallel" if parallel else "sum_flow_serial"]
        for policy in ("closed_packing", settings.policy):
            plan = make_plan(problem, policy, objective="flow", limits=limits)
            table.add(problem.name, policy, plan.objective[2] / 2, plan.makespan / 2, published)
    printed, corrected = first_come(data["B"], as_printed=True), first_come(data["B"])
    table.add("B", "fcfs as printed", sum_flow_hours(printed), "", 147.02)
    table.add("B", "fcfs corrected", sum_flow_hours(corrected), "", 108.41)
    spans = Replay(data["B"]).run()
    table.add("B", "closed_packing replay", sum_flow_hours(spans), max(s.finish for s in spans.values()) / 60, 21.29)
    published = {str(row[0]): row[6] for row in data["B"]["published_per_job_h"]["rows"]}
    lengths = {str(row.id): time_alone(row, data["B"]) / 60 for row in submissions(data["B"])}
    guard = {job: max(1.2 * flow, 1.6 * lengths[job]) for job, flow in published.items()}
    problem = experiment_b(data["B"])
    runs = [(None, 0), *((settings.policy, seed) for seed in range(1, settings.seeds + 1))]
    for chosen, seed in settings.each(runs, "OCTOPUS B"):
        outcome = Simulation(problem, chosen, limits=limits, seed=seed).run()
        flows = {job.id: (outcome.finish[job.id] - job.release) / 36000 for job in problem.jobs}
        name = f"{chosen} on arrival, seed {seed}" if chosen else "insert on arrival"
        table.add("B vial", name, sum(flows.values()), max(outcome.finish.values()) / 36000, 21.29)
        over = [job for job, flow in flows.items() if flow > guard[job]]
        table.notes.append(f"{name}: rules broken {len(check(problem, outcome.plan()))}, jobs over the guard {over}")
    return table


def loads(settings: Settings) -> Table:
    """Batch loads of 10 to 50 jobs, every policy, lab objective."""
    return _batch(settings, [(n, seed, False) for n in (10, 20, 50) for seed in range(1, settings.seeds + 1)], "lab")


def vial(settings: Settings) -> Table:
    """Batch loads of 50 jobs at vial level, makespan against its bound."""
    return _batch(settings, [(50, seed, True) for seed in range(1, settings.seeds + 1)], "makespan")


def _batch(settings: Settings, cases: list[tuple[int, int, bool]], objective: ObjectiveName) -> Table:
    columns = (
        "load",
        "policy",
        "makespan h",
        "/ bound",
        "weighted flow h",
        "gap to bound",
        "breaches",
        "CPU s",
    )
    table = Table(f"batch loads, objective {objective}, {settings.cpu} CPU s", columns)
    table.notes.append("measured before, two other loads of 50 jobs: module locks 81 and 85 h, search 40.9 and 46.3 h")
    for jobs, seed, fine in settings.each(cases, "batch loads"):
        problem = make_load(jobs, seed, vial=fine)
        weight = sum(job.weight for job in problem.jobs)
        best = flow_bound(problem) / weight
        for policy in dict.fromkeys(("fcfs", "backfill", "closed_packing", settings.policy)):
            begin = time.process_time()
            plan = make_plan(problem, policy, objective=objective, limits=Limits(cpu=settings.cpu))
            spent = time.process_time() - begin
            flow = mean_weighted_flow(problem, plan)
            breaches = len(check(problem, plan))
            ratio = plan.makespan / makespan_bound(problem)
            row = (plan.makespan / HOUR, ratio, flow / HOUR, 1 - best / flow, breaches, spent)
            table.add(problem.name, policy, *row)
    return table


def online(settings: Settings) -> Table:
    """50 jobs arriving unknown, load 0.6: insertion, re-planning and module locks."""
    columns = (
        "load",
        "policy",
        "weighted flow h",
        "mean flow h",
        "breaches",
        "insert max ms",
        "CPU s/arrival",
    )
    table = Table(f"online loads, {settings.cpu} CPU s per arrival", columns)
    table.notes.append("measured before, mean of two other loads: module locks 12.2, insert once 5.33, re-planned 4.21")
    for seed in settings.each(range(1, settings.seeds + 1), "online loads"):
        problem = make_load(50, seed, rho=0.6)
        serial = make_plan(problem, "fcfs")
        table.add(problem.name, "fcfs", mean_weighted_flow(problem, serial) / HOUR, "", 0, "", "")
        locked = make_plan(problem, "backfill")
        table.add(problem.name, "module locks", mean_weighted_flow(problem, locked) / HOUR, "", 0, "", "")
        for policy in (None, settings.policy):
            outcome = Simulation(problem, policy, limits=Limits(cpu=settings.cpu)).run()
            name = "insert once" if policy is None else policy
            table.add(problem.name, name, *_online_row(problem, outcome))
    return table


def _online_row(problem: Problem, outcome: Outcome) -> tuple[Any, ...]:
    arrivals = len(outcome.insert_seconds)
    spent = sum(outcome.replan_seconds) + sum(outcome.repair_seconds) + sum(outcome.insert_seconds)
    return (
        outcome.mean_flow(problem) / HOUR,
        outcome.mean_flow(problem, weighted=False) / HOUR,
        len(check(problem, outcome.plan())),
        1000 * max(outcome.insert_seconds),
        spent / arrivals,
    )


def fairshare(settings: Settings) -> Table:
    """One user floods, three bring little: stretch with equal weights and with fair-share weights."""
    table = Table("fair share (stretch = flow / time alone)", ("seed", "weights", "flooding", "light", "makespan h"))
    for seed in settings.each(range(1, settings.seeds + 1), "fair share"):
        problem = _flood(seed)
        lengths = alone(problem)
        for name, share in (("first come", None), ("equal", 1), ("fair share", 8)):
            jobs = tuple(replace(job, weight=share if share and job.user != "user0" else 1) for job in problem.jobs)
            policy = "masking" if share else None
            outcome = Simulation(replace(problem, jobs=jobs), policy, limits=Limits(deterministic=0.02)).run()
            stretch: dict[bool, list[float]] = {True: [], False: []}
            for job in problem.jobs:
                value = (outcome.finish[job.id] - job.release) / lengths[job.id]
                stretch[job.user == "user0"].append(value)
            means = [sum(stretch[key]) / len(stretch[key]) for key in (True, False)]
            table.add(seed, name, *means, max(outcome.finish.values()) / HOUR)
    return table


def _flood(seed: int) -> Problem:
    """Return 40 jobs: user 0 brings 28 at once, three users bring 4 each in the course of 20 h."""
    problem, rng = make_load(40, seed), random.Random(seed)
    jobs = []
    for number, job in enumerate(problem.jobs):
        user = 0 if number < 28 else 1 + (number - 28) // 4
        release = 0 if user == 0 else rng.randrange(20 * HOUR)
        jobs.append(replace(job, user=f"user{user}", release=release, weight=1))
    return replace(problem, jobs=tuple(jobs))
