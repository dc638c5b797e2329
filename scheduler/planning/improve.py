"""Improve a plan with CP-SAT: the whole problem at once while it is small, then large neighbourhoods.

The plan that comes in is the incumbent outside the solver: an answer is taken only if it is better by the
ordered objective and the checker finds nothing against it, so the result is never worse. Components of the
objective are minimised one after the other, each bounded by what was reached before.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

from scheduler.planning.bounds import lower_bound
from scheduler.planning.checker import hard_violations
from scheduler.planning.cpsat import Expression, ScheduleModel
from scheduler.planning.digest import Digest, safe_horizon
from scheduler.planning.dispatch import dispatch
from scheduler.planning.flow_bound import joint_flow_bound
from scheduler.planning.forward import bring_forward
from scheduler.planning.limits import PLACEMENTS_PER_UNIT, Clock
from scheduler.planning.neighbourhoods import Neighbourhoods, near_jobs
from scheduler.planning.objective import IMMINENT_SECONDS, Objective
from scheduler.planning.plan import Plan
from scheduler.planning.policies.base import Request, Spans
from scheduler.planning.shop import Shop
from scheduler.planning.slices import Slicer
from scheduler.planning.solver import Answer, Effort
from scheduler.planning.table import MaskingTable
from scheduler.planning.tabu import POLL, TabuSearch, is_job_shop

WHOLE_STEPS = 450
"""Up to this many steps to decide, the whole problem is solved at once first; beyond about 20 jobs a single
model does not find improvements any more."""
NEAR_JOBS = 20
"""How many jobs the near horizon holds; those that start later are appended by the table."""
TINY_SHOP, SMALL_SHOP = 120, 240
"""Up to this many steps a shop is first given to the solver as a whole."""
FEW_JOBS = 3
"""Up to so many jobs there is nothing to choose for a neighbourhood of jobs."""
ALONE_SHARE, AROUND_SHARE, AROUND_FEW_SHARE = 0.25, 0.6, 0.85
"""Shares of what is left of the effort at the whole of a few jobs' flow. One light thread often proves within a third
of a second what several take seconds for, but where it fails, it fails for good; then the solver looks around the
best plan, and only then at everything."""
FIRST_SHARE = 0.15
"""Share of the effort for a first try of the whole shop; what remains after the slices goes to it too."""
NEAR_PROOF = 0.04
"""With so small a gap left, the solver gets another go at the whole."""
LARGE_SHARE = 0.9
"""Share of the effort for slices where the whole is too large to be solved at once."""
DISPATCH_SHARE = 0.06
DISPATCH_WORK = 500
"""Share of the effort for dispatching, and what one schedule counts for: table placements."""
TABU_SHARE, SMALL_TABU_SHARE = 0.75, 0.5
"""Share of the effort for tabu search where it can be used; a small shop may still be proven."""
PART_WORK = 1.0
"""Effort for one neighbourhood, about a second of one thread."""
SLACK = 0.25
"""How far beyond the incumbent's makespan a plan with less flow may reach in a neighbourhood."""


@dataclass(frozen=True, slots=True)
class Way:
    """How the solver goes about it without presolve and relaxations: with how many threads at most, and whether it
    only looks around the best plan."""

    workers: int = 1 << 10
    around: bool = False


class Improver:
    """One search, from one plan.

    Parameters
    ----------
    request
        What is asked.
    start
        The plan to improve; if it breaks hard rules, a plan that does not is looked for first.
    clock
        Runs out when the request's limits are reached.
    """

    def __init__(self, request: Request, start: Plan, clock: Clock) -> None:
        self.request, self.problem, self.name = request, request.problem, request.objective
        self.clock, self.best = clock, start
        self.objective = Objective(self.problem, self.name, request.incumbent)
        self.digest = Digest(self.problem)
        self.bound = lower_bound(self.problem, self.name) if start.bound is None else start.bound
        if self.name != "makespan":
            stop = request.limits.stop
            self.bound = max(self.bound, joint_flow_bound(self.problem, guard=self.name == "lab", stop=stop))
        self.proven = self.impossible = False
        fixed = self.digest.index.fixed
        self.steps = {job.id: [step.id for step in job.steps() if step.id not in fixed] for job in self.problem.jobs}
        self.movable = [job for job, steps in self.steps.items() if steps]
        self.decided = sum(map(len, self.steps.values()))
        self._until = 1.0

    def run(self) -> Plan:
        """Search until the limits are reached or the plan is proven best; return the best plan."""
        if self.decided and self.best.objective[0]:
            self._rescue()
        if self.decided and not self.best.objective[0]:
            self._refine()
            if self.name != "makespan":
                self._forward()
        return self.finished()

    def _forward(self) -> None:
        """Take the plan with nothing waiting without need, if it is no worse."""
        spans = bring_forward(self.problem, self.best)
        if spans is not None:
            plan = self._plan(*spans)
            if plan.objective <= self.best.objective and not hard_violations(self.problem, plan):
                self.best = plan

    def _refine(self) -> None:
        shop = Shop.of(self.problem) if self.name == "makespan" and not self.best.objective[1] else None
        small = self.decided <= (SMALL_SHOP if shop else WHOLE_STEPS)
        if small and self.name != "makespan":
            self._whole(ALONE_SHARE, Way(workers=1))
            self._whole(AROUND_SHARE if len(self.movable) > FEW_JOBS else AROUND_FEW_SHARE, Way(around=True))
        elif small:
            self._whole(self._first_share(shop))
        elif len(self.movable) > NEAR_JOBS and self.name != "makespan":
            self._near(0.2)
        if self.over():
            return
        if shop:
            self._shop(shop, 0.7 if small and self._near_proof() else LARGE_SHARE)
        elif len(self.movable) > FEW_JOBS:
            self._neighbourhoods()
        if not self.over() and self.decided <= 4 * WHOLE_STEPS:
            self._whole(1.0)

    def _first_share(self, shop: Shop | None) -> float:
        """Return the share for a first try of the whole: small shops of devices alone are often proven."""
        if shop is None:
            return 0.5 if len(self.movable) > FEW_JOBS else 1.0
        return 0.5 if self.decided <= TINY_SHOP and not shop.capacities else FIRST_SHARE

    def _near_proof(self) -> bool:
        """Whether little is missing to the bound, so that the whole is worth another try."""
        value = self.best.objective[self.objective.soft_index]
        return value - self.bound <= NEAR_PROOF * value

    def finished(self) -> Plan:
        """Return the best plan with what is proven about it."""
        value = self.best.objective[self.objective.soft_index]
        hard, windows = self.best.objective[:2]
        bound = min(self.bound, value) if not hard and not windows else self.bound
        gap = None if hard else max(0.0, (value - bound) / value) if value > 0 else 0.0
        proven = self.proven or (gap == 0.0 and not windows)
        status = "infeasible" if self.impossible else "unknown" if hard else "optimal" if proven else "feasible"
        return replace(self.best, bound=bound, gap=gap, status=status, method="optimal", seed=self.request.seed)

    # --- a first plan

    def _rescue(self) -> None:
        """Find any plan that keeps all hard rules, or prove that there is none."""
        model = ScheduleModel(self.digest, safe_horizon(self.problem))
        answer, spans = model.minimise(0, self.effort(0.6))
        self._count(answer)
        if answer.status == "infeasible":
            # Told to a person, so not on one run's word.
            again = replace(self.effort(0.5), workers=1, seed=self.request.seed + 1, light=True)
            answer, spans = model.minimise(0, again)
            self._count(answer)
            self.impossible = not answer.solved
        self.offer(spans)

    # --- the whole problem

    def _whole(self, share: float, way: Way | None = None) -> None:
        """Minimise windows, then time, then makespan, then churn, each within what was reached before."""
        if self.over():
            return
        with self.stage(share):
            exact = self.best.objective[1] == 0
            if not exact:
                model = ScheduleModel(self.digest, safe_horizon(self.problem), kept=self.best)
                exact = self._minimise(model, model.windows(), 0.3)
            if self.over():
                return
            model = self._bounded()
            value = self._time(model)
            if self.name != "makespan" and self.best.objective[1] == 0:
                model.cp.add(value >= self.bound)
            exact = self._minimise(model, value, 0.9, way, bounds=True) and exact
            if self.name != "makespan" and (exact or way is None) and not self.over():
                model = self._bounded()
                model.cp.add(self._time(model) <= self.best.objective[2])
                self._minimise(model, model.makespan(), 0.6, way)
            if self.best.objective[4:] > (0,) and not self.over():
                self._calm()
            self.proven = exact

    def _calm(self) -> None:
        """Move as little as possible of what is about to start."""
        before = self.request.incumbent
        if before is None:
            return
        model = self._bounded(self.best.makespan)
        model.cp.add(self._time(model) <= self.best.objective[2])
        until = self.problem.now + int(IMMINENT_SECONDS / self.problem.tick)
        self._minimise(model, model.churn(before, until), 1.0)

    def _bounded(self, horizon: int | None = None) -> ScheduleModel:
        """Return the whole model, with everything cut off that cannot be better."""
        if horizon is None and self.name == "makespan":
            horizon = self.best.makespan
        latest = self._latest() if horizon is None else {}
        model = ScheduleModel(self.digest, horizon or max(latest.values(), default=0), kept=self.best, latest=latest)
        model.cp.add(model.windows() <= self.best.objective[1])
        return model

    def _latest(self) -> dict[str, int]:
        """Return, by job, an end beyond which the flow exceeds the incumbent's whatever the others do."""
        alone, ends = self.digest.alone, {item.step: item.end for item in self.problem.fixed}
        least = {}
        for job in self.problem.jobs:
            begun = [ends[step.id] for step in job.steps() if step.id in ends]
            free = bool(self.steps[job.id])
            least[job.id] = max([*begun, self.problem.now if free else 0]) if begun else job.release + alone[job.id]
        slack = self.best.objective[2] - sum(job.weight * (least[job.id] - job.release) for job in self.problem.jobs)
        return {job.id: least[job.id] + max(0, slack) // job.weight for job in self.problem.jobs}

    def _time(self, model: ScheduleModel) -> Expression:
        return model.makespan() if self.name == "makespan" else model.flow(self.name)

    def _minimise(
        self, model: ScheduleModel, value: Expression, share: float, way: Way | None = None, *, bounds: bool = False
    ) -> bool:
        """Run one stage; return whether it was solved to the end."""
        effort = self.effort(share)
        if way is not None:
            workers = min(effort.workers, way.workers)
            effort = replace(effort, light=True, workers=workers, around=way.around)
        answer, spans = model.minimise(value, effort, self.offer)
        self._count(answer)
        self.offer(spans)
        if bounds and answer.bound is not None:
            self.bound = max(self.bound, answer.bound)
        return answer.status == "optimal"

    # --- the near horizon

    def _near(self, share: float) -> None:
        """Plan the jobs that start first without the others, which the table then appends in their order."""
        near, rest = near_jobs(self.problem, self.best, self.movable, NEAR_JOBS)
        names = set(near) | (set(self.steps) - set(self.movable))
        jobs = tuple(job for job in self.problem.jobs if job.id in names)
        kept = {step.id for job in jobs for step in job.steps()}
        part = replace(
            self.problem,
            jobs=jobs,
            lags=tuple(lag for lag in self.problem.lags if lag.first in kept and lag.second in kept),
            fixed=tuple(item for item in self.problem.fixed if item.step in kept),
        )
        if len(part.fixed) < len(self.problem.fixed):
            return  # Somebody's hold is open: what it blocks is only known in the whole problem.
        with self.stage(share):
            model = ScheduleModel(Digest(part), self._horizon(), kept=self.best)
            model.cp.add(model.windows() <= self.best.objective[1])
            answer, spans = model.minimise(self._time(model), self.effort(1.0))
            self._count(answer)
            if spans is not None:
                self._append(spans, rest)

    def _append(self, near: Spans, rest: list[str]) -> None:
        table = MaskingTable(self.problem)
        starts, _, modes = near
        placed = [(starts[step], step) for step in starts if step not in self.digest.index.fixed]
        for start, step in sorted(placed):
            unit = table.units[table.unit_of[step]]
            if table.start[unit.index] < 0:
                wanted = tuple(modes[name] for name in unit.steps)
                variant = next(n for n, variant in enumerate(unit.variants) if variant.modes == wanted)
                at = start - unit.variants[variant].offsets[unit.steps.index(step)]
                if not table.seat_exactly(unit.index, at, variant):
                    return
        for job in rest:
            if table.place_job(job) is not None:
                return
        self.offer(table.spans())

    # --- large neighbourhoods

    def _neighbourhoods(self) -> None:
        """Free some jobs, solve, keep what is no worse; as many at a time as there are workers."""
        draws = Neighbourhoods(self.problem, self.movable, random.Random(self.request.seed))
        current, turn = self.best, 0
        count = 1 if self.request.limits.deterministic is not None else max(1, self.request.limits.workers)
        with ThreadPoolExecutor(max_workers=count) as pool:
            while not self.over():
                turn += 1
                drawn = [draws.draw(current) for _ in range(count)]
                tasks = [
                    pool.submit(
                        self._solve_part,
                        current,
                        frozenset(step for job in jobs for step in self.steps[job]),
                        self.request.seed + 7919 * turn + number,
                    )
                    for number, jobs in enumerate(drawn)
                ]
                for jobs, task in zip(drawn, tasks, strict=True):
                    answer, spans = task.result()
                    self._count(answer)
                    draws.learn(solved=answer.status == "optimal")
                    current = self._merge(current, spans, {s for job in jobs for s in self.steps[job]})

    def _merge(self, current: Plan, spans: Spans | None, free: Collection[str]) -> Plan:
        """Return the current plan with the freed steps as they were solved, if that is no worse."""
        if spans is None:
            return current
        merged = tuple(
            {**old, **{step: new[step] for step in free}}
            for old, new in zip((current.starts, current.ends, current.modes), spans, strict=True)
        )
        plan = self._plan(merged[0], merged[1], merged[2])
        if plan.objective[:4] > current.objective[:4] or hard_violations(self.problem, plan):
            return current
        if plan.objective < self.best.objective:
            self.take(plan)
        return plan

    def _solve_part(self, plan: Plan, free: Collection[str], seed: int) -> tuple[Answer, Spans | None]:
        model = ScheduleModel(self.digest, self._horizon(), free, plan)
        if plan.objective[1] > 0:
            value = model.windows()
        else:
            model.cp.add(model.windows() <= plan.objective[1])
            value = self._time(model)
        left = self.effort(1.0).work
        counted = left is not None
        work = PART_WORK if left is None else min(PART_WORK, left)
        effort = Effort(None if counted else 2 * PART_WORK, work, 1, seed, self.over, light=True)
        return model.minimise(value, effort)

    # --- shops and projects

    def _shop(self, shop: Shop, share: float) -> None:
        """Shorten a shop's or a project's makespan, from a dispatched arrangement if that is better."""
        with self.stage(DISPATCH_SHARE):
            found = dispatch(shop, self.request.seed, lambda: self._over_after(DISPATCH_WORK))
            if found is not None:
                self.offer(shop.write(found))
        if is_job_shop(shop):
            self._tabu(shop, TABU_SHARE if len(shop.names) > SMALL_SHOP else SMALL_TABU_SHARE)
        with self.stage(share):
            self._slices(shop)

    def _tabu(self, shop: Shop, share: float) -> None:
        turn = POLL * (2 + len(shop.names) // 60)
        with self.stage(share):
            search = TabuSearch(shop, shop.read(self.best), self.request.seed)
            search.run(lambda: self._over_after(turn), lambda: self.offer(shop.write(search.found())), self.bound)

    def _slices(self, shop: Shop) -> None:
        """Decide one slice of time after the other anew."""
        slicer = Slicer(shop, shop.read(self.best), self.request.seed)
        while not self.over() and slicer.last > self.bound:
            before = slicer.last
            self._count(slicer.turn(self.over))
            if slicer.last < before:
                self.offer(shop.write(slicer.best))

    def _over_after(self, work: int) -> bool:
        self.clock.work += work
        return self.over()

    # --- taking answers

    def _plan(self, starts: dict[str, int], ends: dict[str, int], modes: dict[str, int]) -> Plan:
        plan = replace(self.best, starts=starts, ends=ends, modes=modes, unplaced={})
        return replace(plan, objective=self.objective(starts, ends, modes))

    def offer(self, spans: Spans | None) -> None:
        """Take a solution if it is better and the checker finds nothing against it."""
        if spans is None:
            return
        plan = self._plan(dict(spans[0]), dict(spans[1]), dict(spans[2]))
        if plan.objective < self.best.objective and not hard_violations(self.problem, plan):
            self.take(plan)

    def take(self, plan: Plan) -> None:
        """Make a verified plan the best one and tell who wants to know."""
        self.best = plan
        self.clock.better()
        if self.request.progress is not None:
            self.request.progress(min(1.0, self.clock.spent()), self.finished())

    # --- effort

    @contextmanager
    def stage(self, share: float) -> Iterator[None]:
        """Let the clock run out when a share of what is left is used up."""
        before, spent = self._until, self.clock.spent()
        self._until = spent + (before - spent) * share
        yield
        self._until = before

    def over(self) -> bool:
        """Whether to end the present stage."""
        stop = self.request.limits.stop
        if self.proven or (stop is not None and stop()):
            return True
        return self.tired() or self.clock.spent() >= self._until

    def tired(self) -> bool:
        """Whether it no longer pays: nothing better has been found for as long as the limits allow."""
        patience = self.request.limits.patience
        return patience is not None and self.clock.used() - self.clock.better_at >= patience

    def effort(self, share: float) -> Effort:
        """Return the effort for a solve that may use this share of what is left of the stage."""
        limits, spent = self.request.limits, self.clock.spent()
        until = spent + (self._until - spent) * share
        work = None if limits.deterministic is None else limits.deterministic * (until - spent)

        def stop() -> bool:
            if limits.stop is not None and limits.stop():
                return True
            # Counted work is only known afterwards; the solver keeps to it by itself.
            return self.tired() or self.clock.spent() >= until

        return Effort(None, work, limits.workers, self.request.seed, stop)

    def _count(self, answer: Answer) -> None:
        self.clock.work += int(answer.work * PLACEMENTS_PER_UNIT)

    def _horizon(self) -> int:
        makespan = self.best.makespan
        if self.name == "makespan":
            return makespan
        return makespan + max(1, int(SLACK * (makespan - self.problem.now)))
