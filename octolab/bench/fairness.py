"""Fairness: a flood, the mixed load of the planning measurements (simulated, and by the live scheduler), a week."""

from __future__ import annotations

import random
from dataclasses import replace
from statistics import mean
from typing import Any

from scheduler.planning.fair_simulation import FairSimulation, Order
from scheduler.planning.network import alone
from scheduler.planning.problem import Device, Job, Mode, Problem, Resource, Step, Task, Use
from scheduler.planning.workloads.generator import DEVICES, TICK, make_job

from .jumping import play

HOUR = round(3600 / TICK)
"""Ticks of an hour."""
SEEDS = 6
LIVE_SEEDS = 3
SMALL_DEVICES = ("UV", "LC", "CENT")


def run() -> dict[str, Any]:
    """Return all figures."""
    return {"flood": flood(), "mixed": mixed(), "mixed_live": mixed_live(), "week": week()}


# --- a flood of 500 jobs


def flood(jobs: int = 500, seeds: int = 3) -> dict[str, Any]:
    """Let one user submit many jobs at once and another one job somewhat later, on three modules."""
    worst = dict.fromkeys(("fcfs", "fair"), 0.0)
    longest = 0
    for seed in range(seeds):
        problem = flood_problem(jobs, seed)
        longest = max(longest, max(step.modes[0].duration for job in problem.jobs for step in job.steps()))
        for order in worst:
            worst[order] = max(worst[order], first_delay(problem, "light", order))  # type: ignore[arg-type]
    return {
        "jobs": jobs,
        "longest_task_min": longest * TICK / 60,
        "worst_delay_of_the_other's_first_job_min": {order: delay * TICK / 60 for order, delay in worst.items()},
    }


def flood_problem(jobs: int, seed: int) -> Problem:
    """Return a flood of one-task jobs at time 0, and another user's job in the middle of it."""
    rng = random.Random(seed)
    made = [_small(f"f{number:03d}", "flood", 0, rng) for number in range(jobs)]
    made.append(_small("light", "light", rng.randrange(HOUR, 8 * HOUR), rng))
    return Problem(tuple(made), tuple(Device(name) for name in SMALL_DEVICES), tick=TICK)


def _small(name: str, user: str, release: int, rng: random.Random, ticks: tuple[int, int] = (4, 40)) -> Job:
    device, length = rng.choice(SMALL_DEVICES), rng.randint(*ticks)
    step = Step(f"{name}.0", (Mode(length, (Use(device),)),))
    return Job(name, (Task(f"{name}.t", (step,), device),), user=user, project=user, release=release)


def first_delay(problem: Problem, job: str, order: Order) -> int:
    """Return by how many ticks a job starts later than it arrives."""
    simulation = FairSimulation(problem, order)
    outcome = simulation.run()
    wanted = next(one for one in problem.jobs if one.id == job)
    return min(outcome.starts[step.id] for step in wanted.steps()) - wanted.release


# --- the load of the planning measurements


def mixed(seeds: int = SEEDS, orders: tuple[Order, ...] = ("fcfs", "shortest", "fair")) -> dict[str, Any]:
    """28 jobs of one user at time 0, four each of three others during 20 h; stretch is flow time by time alone."""
    found: dict[str, dict[str, list[float]]] = {}
    for seed in range(seeds):
        problem = mixed_problem(seed)
        lengths = alone(problem)
        for order in orders:
            outcome = FairSimulation(problem, order).run()
            stretch = {job.id: (outcome.finish[job.id] - job.release) / lengths[job.id] for job in problem.jobs}
            rows = found.setdefault(order, {"flooding user": [], "light users": [], "makespan_h": []})
            rows["flooding user"].append(mean(stretch[job.id] for job in problem.jobs if job.user == "user0"))
            rows["light users"].append(mean(stretch[job.id] for job in problem.jobs if job.user != "user0"))
            rows["makespan_h"].append(max(outcome.finish.values()) / HOUR)
    figures = {order: {name: round(mean(values), 2) for name, values in rows.items()} for order, rows in found.items()}
    cost = figures["fair"]["makespan_h"] / figures["fcfs"]["makespan_h"] - 1
    return {"stretch_and_makespan": figures, "makespan_cost_percent": round(100 * cost, 1)}


def mixed_live(seeds: int = LIVE_SEEDS) -> dict[str, Any]:
    """Let the live scheduler do the same load: real stores and the real loop, in quickened lab time."""
    rows: dict[str, list[float]] = {"flooding user": [], "light users": [], "makespan_h": [], "fcfs_makespan_h": []}
    for seed in range(seeds):
        problem = mixed_problem(seed)
        lengths, found = alone(problem), play(problem)
        stretch = {job.id: (found[job.id]["finish_s"] / TICK - job.release) / lengths[job.id] for job in problem.jobs}
        rows["flooding user"].append(mean(stretch[job.id] for job in problem.jobs if job.user == "user0"))
        rows["light users"].append(mean(stretch[job.id] for job in problem.jobs if job.user != "user0"))
        rows["makespan_h"].append(max(times["finish_s"] for times in found.values()) / 3600)
        rows["fcfs_makespan_h"].append(max(FairSimulation(problem, "fcfs").run().finish.values()) / HOUR)
    figures = {name: round(mean(values), 2) for name, values in rows.items()}
    cost = sum(rows["makespan_h"]) / sum(rows["fcfs_makespan_h"]) - 1
    return {
        "seeds": seeds,
        "stretch_and_makespan": figures,
        "light_users_by_seed": [round(value, 2) for value in rows["light users"]],
        "makespan_cost_percent": round(100 * cost, 1),
    }


def mixed_problem(seed: int) -> Problem:
    """Return the load."""
    rng = random.Random(seed)
    made = []
    for number in range(40):
        user = 0 if number < 28 else 1 + (number - 28) // 4
        job, _ = make_job(f"j{number:03d}", random.Random(rng.random()))
        release = 0 if user == 0 else rng.randrange(20 * HOUR)
        made.append(replace(job, user=f"user{user}", project=f"user{user}", weight=1, release=release))
    resources = (Resource("STIR", 16), Resource("FURN", 8))
    return Problem(tuple(made), tuple(Device(name) for name in DEVICES), resources, tick=TICK)


# --- a week


def week(shares: tuple[float, ...] = (1.0, 2.0, 3.0), seed: int = 1) -> dict[str, Any]:
    """Three projects that always want more than there is; how much of the week's module time each gets."""
    names = [f"project{number}" for number in range(len(shares))]
    rng = random.Random(seed)
    days, made = 7, []
    # Each brings two jobs of about an hour every hour, and there are three devices: twice what can be done.
    for hour in range(24 * days):
        for name in names:
            made += [_small(f"{name}-{hour:03d}-{n}", name, hour * HOUR, rng, (80, 160)) for n in range(2)]
    problem = Problem(tuple(made), tuple(Device(name) for name in SMALL_DEVICES), tick=TICK)
    simulation = _Week(problem, "fair", shares=dict(zip(names, shares, strict=True)))
    simulation.until = days * 24 * HOUR
    simulation.run()
    used = {name: sum(use.used_s for use in simulation.booked if use.project == name) for name in names}
    total, of_all = sum(used.values()), sum(shares)
    return {
        name: {
            "configured_percent": round(100 * share / of_all, 1),
            "got_percent": round(100 * used[name] / total, 1),
            "off_percent": round(100 * (used[name] / total) / (share / of_all) - 100, 1),
        }
        for name, share in zip(names, shares, strict=True)
    }


class _Week(FairSimulation):
    """Ends when the week does, whatever still waits."""

    until = 0

    def _next_time(self, arrival: int | None) -> int:
        now = super()._next_time(arrival)
        if now > self.until:
            self.left.clear()
            self.events.clear()
            return self.live.now
        return now
