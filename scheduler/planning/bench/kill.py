"""The improver is killed at random moments: the plan in force always verifies and never got worse."""

from __future__ import annotations

import random
import time
from dataclasses import replace

from scheduler.planning.bench.report import Settings, Table
from scheduler.planning.checker import hard_violations
from scheduler.planning.limits import Limits
from scheduler.planning.objective import Objective
from scheduler.planning.plan import Plan
from scheduler.planning.policies import make_plan
from scheduler.planning.problem import Fixed, Problem
from scheduler.planning.process import SolverProcess
from scheduler.planning.workloads.generator import make_load

LATEST_S = 0.5
"""The last moment of a kill after the child was started, or after it told of as many better plans as are drawn."""
WAIT_S = 10.0
"""How long better plans are waited for."""


def kill(settings: Settings) -> Table:
    """Kill the improver of random problems at random moments: the plan in force verifies and never got worse.

    Interrupted, it shows what it has.
    """
    table = Table("improver killed", ("problems", "killed alive", "improved before", "broken plans", "worse plans"))
    counts = dict.fromkeys(table.columns, 0)
    try:
        for seed in settings.each(range(settings.count), "kill"):
            row = (1, *kill_once(seed))
            counts = {name: counts[name] + value for name, value in zip(table.columns, row, strict=True)}
    except KeyboardInterrupt:
        table.notes.append("interrupted")
    table.add(*counts.values())
    return table


def kill_once(seed: int) -> tuple[bool, bool, bool, bool]:
    """Kill one improver; return whether it lived, had improved, and whether the plan is broken or worse."""
    rng = random.Random(seed)
    problem, incumbent = random_situation(rng)
    objective = Objective(problem, "lab", incumbent)
    before = objective(incumbent.starts, incumbent.ends, incumbent.modes)
    wanted, pause = rng.choice((0, 0, 1, 2, 4)), rng.uniform(0.0, LATEST_S)
    with SolverProcess(problem, incumbent=incumbent, limits=Limits(wall=60.0), seed=seed) as solver:
        begin = time.monotonic()
        while wanted and solver.running and time.monotonic() - begin < WAIT_S:
            wanted -= solver.poll(0.1) is not None
        time.sleep(pause)
        alive = solver.running
        solver.kill()
        while solver.poll() is not None:
            pass  # What the child had said before it died counts too.
        plan = solver.best or incumbent
    after = objective(plan.starts, plan.ends, plan.modes)
    return alive, after < before, bool(hard_violations(problem, plan)), after > before


def random_situation(rng: random.Random) -> tuple[Problem, Plan]:
    """Return a random load, some time after its plan went into force: what has begun is fixed."""
    problem = make_load(
        rng.randint(3, 14),
        rng.randrange(1 << 30),
        vial=rng.random() < 0.3,
        rho=rng.choice((None, 0.6, 0.9)),
    )
    plan = make_plan(problem, "masking")
    now = round(rng.choice((0.0, 0.2, 0.5)) * plan.makespan)
    fixed = tuple(
        Fixed(name, start, plan.ends[name], plan.modes[name], "running" if plan.ends[name] > now else "completed")
        for name, start in plan.starts.items()
        if start < now
    )
    return replace(problem, now=now, fixed=fixed), plan
