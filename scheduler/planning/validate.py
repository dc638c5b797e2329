"""Is a problem well formed? Every contradiction is named with a sentence, before any planning."""

from __future__ import annotations

import math
from collections.abc import Iterator

from scheduler.planning.digest import safe_horizon
from scheduler.planning.problem import Index, Job, Mode, Problem, ProblemError, Step, all_lags

LARGEST_COST = 2**62
"""What the solver counts with ends at twice that."""
COST_FACTOR = 8
"""So many times longer than its flow can a job's cost be, with guard and tardiness and over a long horizon."""


def validate(problem: Problem) -> None:
    """Check references, signs and shapes in one linear scan.

    Raises
    ------
    ProblemError
        With one sentence for each contradiction. Whether the problem can be *solved* is another question, see
        `scheduler.planning.infeasible`.
    """
    reasons = list(problems_of(problem)) or list(_too_large(problem))
    if reasons:
        raise ProblemError(reasons)


def _too_large(problem: Problem) -> Iterator[str]:
    """Yield a sentence if a plan's cost could be a number that no solver can count with."""
    times = [problem.now, *(time for job in problem.jobs for time in (job.release, job.due or 0, job.deadline or 0))]
    longest = safe_horizon(problem) + max(map(abs, times))
    costs = [lag.cost for lag in all_lags(problem) if lag.cost]
    heaviest = max(sum(job.weight for job in problem.jobs), sum(costs), 1)
    if COST_FACTOR * longest * heaviest > LARGEST_COST:
        yield (
            f"with times of up to {longest} ticks and weights or costs of {heaviest} together, plans cannot be "
            f"compared exactly; use longer ticks or smaller weights"
        )


def problems_of(problem: Problem) -> Iterator[str]:
    """Yield a sentence for each thing that is wrong with the form of `problem`."""
    index = problem.index()
    yield from _ids(problem)
    if not 0 < problem.tick < math.inf:
        yield f"the tick is {problem.tick} s; it must be positive and finite"
    yield from _lab(problem)
    for job in problem.jobs:
        yield from _job(index, job)
    for lag in all_lags(problem):
        missing = [step for step in (lag.first, lag.second) if step not in index.step]
        if missing:
            yield f"a lag names the unknown step {missing[0]}"
        elif lag.min is not None and lag.max is not None and lag.min > lag.max:
            names = f"{lag.first} and {lag.second}"
            yield f"between {names} the least wait {lag.min} exceeds the greatest {lag.max}"
        if lag.cost is not None and lag.cost < 0:
            yield f"the window between {lag.first} and {lag.second} has the negative cost {lag.cost}"
    yield from _fixed(index)


def _fixed(index: Index) -> Iterator[str]:
    seen: set[str] = set()
    for fixed in index.problem.fixed:
        if fixed.step in seen:
            yield f"step {fixed.step} is fixed twice"
        seen.add(fixed.step)
        if fixed.step not in index.step:
            yield f"the fixed step {fixed.step} does not exist"
        elif not 0 <= fixed.mode < len(index.step[fixed.step].modes):
            yield f"the fixed step {fixed.step} names mode {fixed.mode}, which it does not have"
        elif fixed.end < fixed.start:
            yield f"the fixed step {fixed.step} ends before it starts"


def _lab(problem: Problem) -> Iterator[str]:
    for device in problem.devices:
        if device.batch < 1:
            yield f"device {device.id} takes batches of {device.batch}; it must be at least 1"
        for blocked in device.blocked:
            if blocked.end < blocked.start:
                yield f"device {device.id} is blocked from {blocked.start} to {blocked.end}, which is before"
        for setup in device.setups:
            if setup.duration < 0:
                yield f"device {device.id} has a setup of {setup.duration} ticks"
    for resource in problem.resources:
        if resource.capacity < 0:
            yield f"resource {resource.id} has the negative capacity {resource.capacity}"
        for outage in resource.outages:
            if outage.end < outage.start:
                yield f"resource {resource.id} is missing from {outage.start} to {outage.end}, which is before"
            if outage.quantity < 0:
                yield f"of resource {resource.id} the negative quantity {outage.quantity} is missing"
    for stock in problem.stocks:
        if any(refill.quantity < 0 for refill in stock.refills):
            yield f"stock {stock.id} has a delivery with a negative quantity"


def _ids(problem: Problem) -> Iterator[str]:
    groups = {
        "job": [job.id for job in problem.jobs],
        "step": [step.id for step in problem.steps()],
        "device or resource": [d.id for d in problem.devices] + [r.id for r in problem.resources],
        "stock": [stock.id for stock in problem.stocks],
    }
    for kind, ids in groups.items():
        seen: set[str] = set()
        for name in ids:
            if name in seen:
                yield f"the {kind} id {name} is used twice"
            seen.add(name)


def _job(index: Index, job: Job) -> Iterator[str]:
    if job.weight < 1:
        yield f"job {job.id} has the weight {job.weight}; it must be positive"
    own = {step.id for step in job.steps()}
    for step in job.steps():
        yield from _step(index, step)
    for hold in job.holds:
        if hold.quantity < 0:
            yield f"job {job.id} holds the negative quantity {hold.quantity} of {hold.resource}"
    holds = [(hold.resource, hold.first, hold.last, True) for hold in job.holds]
    holds += [(setting.device, setting.first, setting.last, False) for setting in job.settings]
    for thing, first, last, exclusive in holds:
        unknown = [name for name in (first, last) if name not in own]
        if unknown:
            yield f"a hold of job {job.id} names step {unknown[0]}, which is not one of its steps"
        elif thing not in index.device and thing not in index.resource:
            yield f"job {job.id} holds {thing}, which does not exist"
        elif exclusive and thing in index.device:
            order = [step.id for step in index.task_of[first].steps]
            if last not in order or order.index(last) < order.index(first):
                yield f"job {job.id} holds device {thing} over {first} and {last}, not in order in one task"


def _step(index: Index, step: Step) -> Iterator[str]:
    if not step.modes:
        yield f"step {step.id} has no mode"
    if step.min_gap < 0:
        yield f"step {step.id} asks for a negative gap; use a lag to let steps overlap"
    if step.max_gap is not None and step.max_gap < step.min_gap:
        yield f"step {step.id} asks for a gap of at least {step.min_gap} and at most {step.max_gap}"
    if step.gap_cost is not None and step.gap_cost < 0:
        yield f"the gap after step {step.id} has the negative cost {step.gap_cost}"
    if step.batch_size < 1:
        yield f"step {step.id} has the batch size {step.batch_size}; it must be at least 1"
    for mode in step.modes:
        yield from _mode(index, step, mode)
    for draw in step.draws:
        if draw.stock not in index.stock:
            yield f"step {step.id} draws from the unknown stock {draw.stock}"


def _mode(index: Index, step: Step, mode: Mode) -> Iterator[str]:
    if mode.duration < 0:
        yield f"step {step.id} lasts {mode.duration} ticks"
    names = [use.device for use in mode.uses]
    if len(set(names)) < len(names):
        yield f"step {step.id} names a device twice"
    for name in names:
        if name not in index.device:
            yield f"step {step.id} uses the unknown device {name}"
        elif index.device[name].setups and step.family is None:
            yield f"step {step.id} uses {name}, which needs a setup family, and has none"
    for demand in mode.demands:
        if demand.resource not in index.resource:
            yield f"step {step.id} needs the unknown resource {demand.resource}"
        elif demand.quantity < 0:
            yield f"step {step.id} needs a negative quantity of {demand.resource}"
