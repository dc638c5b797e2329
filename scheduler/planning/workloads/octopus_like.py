"""Seeded days like OCTOPUS's experiments: other jobs of the same kinds, at other times."""

from __future__ import annotations

import random
from dataclasses import replace

from scheduler.planning.problem import Problem, Step
from scheduler.planning.workloads.octopus import experiment_a, experiment_b

HOURS = {
    "BatchSynthesis": 1, "Washing": 2, "Filter": 1, "Drying": 2, "InkPreparation": 1,
    "HalfCellTest": 2, "BallMilling": 1, "XRD": 1, "SprayCoating": 1, "FullCellTest": 2,
}  # fmt: skip
"""How long the modules of experiment A take, in the order in which jobs pass them."""
MEAN_GAP_A_H, MEAN_GAP_B_MIN = 2.0, 47.0
"""Mean time between two jobs; that of B is the published day's."""


def like_a(count: int, seed: int) -> Problem:
    """Return `count` jobs over half of the modules of experiment A each, which come at random; ticks are minutes."""
    rng = random.Random(seed)
    rows = [[name for name in HOURS if rng.random() < 0.5] or [rng.choice(list(HOURS))] for _ in range(count)]
    problem = experiment_a({"jobs": rows, "duration": HOURS, "block_parallel": 0.5}, parallel=True)

    def fine(step: Step) -> Step:
        return replace(step, modes=tuple(replace(mode, duration=30 * mode.duration) for mode in step.modes))

    jobs, at = [], 0.0
    for job in problem.jobs:
        tasks = tuple(replace(task, steps=tuple(map(fine, task.steps))) for task in job.tasks)
        jobs.append(replace(job, tasks=tasks, release=int(at)))
        at += 60 * rng.expovariate(1 / MEAN_GAP_A_H)
    return replace(problem, jobs=tuple(jobs), tick=60.0, name=f"octopus-like-A-{count}-s{seed}")


def like_b(count: int, seed: int) -> Problem:
    """Return `count` jobs as those of experiment B, at vial level: batches, spectra, and closed loops of both."""
    rng = random.Random(seed)
    rows, at = [], 0.0
    for number in range(count):
        kind = rng.choice(("U", "U", "U", "B", "B", "BU"))
        loop, batch = kind == "BU", "B" in kind
        vials, cycles = rng.randint(2, 6 if loop else 8), rng.randint(1, 3) if loop else 1
        react, additions = (rng.choice((20, 40, 80, 120)), rng.randint(2, 4)) if batch else (0, 0)
        rows.append([number, int(at), kind, vials, cycles, react, additions])
        at += rng.expovariate(1 / MEAN_GAP_B_MIN)
    problem = experiment_b({"jobs": rows, "modules": {"BatchSynthesis": {"vial_slots": 8}}})
    return replace(problem, name=f"octopus-like-B-{count}-s{seed}")
