"""How fast the table and the live repair are, and whether equal seeds give equal plans."""

from __future__ import annotations

import random
import resource
import time

from scheduler.planning.bench.report import Settings, Table
from scheduler.planning.calendars import NEVER
from scheduler.planning.codec import dump_plan
from scheduler.planning.limits import Limits
from scheduler.planning.live import LiveTable
from scheduler.planning.policies import make_plan
from scheduler.planning.problem import Device, Job, Mode, Problem, Step, Task, Use
from scheduler.planning.table import MaskingTable
from scheduler.planning.workloads.generator import make_load


def random_tasks(count: int, devices: int, seed: int, *, spread: int) -> Problem:
    """Return rigid tasks of 2 to 5 actions on 1 or 2 devices, half of the gaps standby, at one-second ticks.

    Tasks are released evenly over `spread` ticks (0: everything at once).
    """
    rng = random.Random(seed)
    jobs = []
    for number in range(count):
        steps = []
        for n in range(rng.randint(2, 5)):
            uses = tuple(Use(f"d{d}") for d in rng.sample(range(devices), rng.choice((1, 1, 2))))
            gap = rng.randint(30, 600) if rng.random() < 0.5 else 0
            steps.append(Step(f"{number}.{n}", (Mode(rng.randint(10, 120), uses),), gap, gap))
        job = Job(str(number), (Task(str(number), tuple(steps)),), release=spread * number // count)
        jobs.append(job)
    return Problem(tuple(jobs), tuple(Device(f"d{d}") for d in range(devices)))


def table(settings: Settings) -> Table:
    """10,000 reservations (and 10,000 tasks) on 20 devices at one-second ticks: placements per second."""
    columns = (
        "case",
        "tasks",
        "reservations",
        "tasks / CPU s",
        "reservations / CPU s",
        "p50 us",
        "p99 us",
        "max us",
    )
    result = Table("masking table", columns)
    cases = (
        ("online", 2_500, 250_000),
        ("all from t = 0", 2_500, 0),
        ("online", 10_000, 1_000_000),
        ("all from t = 0", 10_000, 0),
    )
    for name, count, spread in cases:
        problem = random_tasks(count, 20, 1, spread=spread)
        made = MaskingTable(problem)
        times = []
        for job in settings.each(problem.jobs, name):
            begin = time.thread_time_ns()
            made.place_job(job.id)
            times.append(time.thread_time_ns() - begin)
        times.sort()
        rate = len(times) / (sum(times) / 1e9)
        at = [times[len(times) // 2], times[len(times) * 99 // 100], times[-1]]
        reserved = sum(len(unit.variants[0].unary) for unit in made.units)
        share = reserved / len(times)
        result.add(name, len(times), reserved, rate, rate * share, *(value / 1000 for value in at))
    return result


def live(settings: Settings) -> Table:
    """Insert, repair and plan with 1,000 and 10,000 live steps."""
    result = Table("live table", ("case", "steps", "p50 ms", "p99 ms", "max ms"))
    load = make_load(50, 1)
    while sum(1 for _ in load.steps()) < 1000:
        load = make_load(len(load.jobs) + 5, 1)
    holder = LiveTable(Problem((), load.devices, load.resources, tick=load.tick))
    inserts = []
    for job in load.jobs:
        begin = time.process_time()
        holder.insert(job)
        inserts.append(time.process_time() - begin)
    steps = sum(1 for _ in load.steps())
    result.add("insert a job", steps, *_milliseconds(inserts))
    problem, plan = holder.problem(), holder.plan()
    rebuilds, repairs = [], []
    for turn in settings.each(range(40), "repairs"):
        begin = time.process_time()
        fresh = LiveTable(problem, plan)
        rebuilds.append(time.process_time() - begin)
        rng = random.Random(turn)
        start, name = min((start, name) for name, start in plan.starts.items())
        length = plan.ends[name] - start
        fresh.pin(name, start, start + length)
        begin = time.process_time()
        if not fresh.extend(name, start + int(length * rng.uniform(1.2, 2.0)) + 1):
            fresh.repair()
        repairs.append(time.process_time() - begin)
    result.add("rebuild", steps, *_milliseconds(rebuilds))
    result.add("repair after an overrun", steps, *_milliseconds(repairs))
    large = make_load(430, 2)
    begin = time.process_time()
    big = MaskingTable(large)
    for job in large.jobs:
        big.place_job(job.id)
    spent = time.process_time() - begin
    count = sum(1 for _ in large.steps())
    result.add("feasible plan from nothing", count, *_milliseconds([spent]))
    placed = sum(1 for start in big.start if -NEVER < start < NEVER)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result.notes.append(f"{placed} units placed; peak memory of the process {peak:.0f} MiB")
    return result


def _milliseconds(times: list[float]) -> tuple[float, float, float]:
    rows = sorted(1000 * value for value in times)
    return rows[len(rows) // 2], rows[min(len(rows) - 1, len(rows) * 99 // 100)], rows[-1]


def determinism(settings: Settings) -> Table:
    """The same seed and deterministic limit, 20 runs: how many different plans."""
    result = Table("determinism", ("policy", "runs", "different plans"))
    problem = make_load(15, 3)
    limits = Limits(deterministic=0.1, workers=1)
    plans = set()
    for _ in settings.each(range(20), "determinism"):
        plans.add(dump_plan(make_plan(problem, settings.policy, limits=limits, seed=7)))
    result.add(settings.policy, 20, len(plans))
    return result
