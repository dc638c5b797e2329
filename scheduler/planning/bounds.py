"""Lower bounds that hold for every plan: how far from the best possible can this one be?

- critical path: no job finishes before its release plus its longest path;
- load, head and tail: on a unary device (or by energy on a resource) any set of steps needs its total work
after the
  least head and before the least tail (Carlier 1982, the one-machine preemptive bound);
- weighted flow: the sum over jobs of the critical path, or shortest-weighted-processing-time order on the
busiest
  device with heads and tails left to the job's own path (Smith 1956, as a relaxation).
"""

from __future__ import annotations

import heapq
from collections import defaultdict

from scheduler.planning.network import Arc, LagCycleError, arcs_of, earliest_starts, job_lags, time_alone
from scheduler.planning.objective import STRETCH_LIMIT, TARDINESS_FACTOR, ObjectiveName
from scheduler.planning.problem import Job, Problem, Step, all_lags

Loads = dict[str, list[tuple[int, int, int, str]]]
"""By device: (head, work, tail, job) of each step that needs it in every mode."""


def lower_bound(problem: Problem, objective: ObjectiveName = "lab") -> int:
    """Return a proven lower bound in ticks of the objective's leading time: makespan or weighted flow."""
    frame = Frame(problem)
    return frame.makespan() if objective == "makespan" else frame.flow(guard=objective == "lab")


def makespan_bound(problem: Problem) -> int:
    """Return a lower bound of the last end in ticks."""
    return Frame(problem).makespan()


def flow_bound(problem: Problem) -> int:
    """Return a lower bound in ticks of sum(weight * flow), without stretch guard and tardiness."""
    return Frame(problem).flow(guard=False)


class Frame:
    """Heads, tails and loads of a problem."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.fixed = {fixed.step: fixed for fixed in problem.fixed}
        self.shortest: dict[str, int] = {}
        longest: dict[str, int] = {}
        release: dict[str, int] = {}
        for job in problem.jobs:
            for step in job.steps():
                fixed = self.fixed.get(step.id)
                if fixed is not None:
                    self.shortest[step.id] = longest[step.id] = fixed.end - fixed.start
                    release[step.id] = fixed.start
                else:
                    self.shortest[step.id] = min(mode.duration for mode in step.modes)
                    longest[step.id] = max(mode.duration for mode in step.modes)
                    release[step.id] = max(problem.now, job.release, step.earliest)
        # Lags between fixed steps, and maxima around fixed steps, are left out: they may be broken facts.
        lags = [lag for lag in all_lags(problem) if lag.first not in self.fixed or lag.second not in self.fixed]
        arcs = arcs_of(lags, self.shortest, longest)
        arcs = [arc for arc in arcs if arc.head not in self.fixed]
        try:
            self.head = earliest_starts(self.shortest, arcs, release)
            self.tail = self._tails(arcs)
            self.own_tail = self._own_tails(longest)
        except LagCycleError:
            self.head = release
            self.tail = dict.fromkeys(self.shortest, 0)
            self.own_tail = self.tail
        self.loads = self._loads()
        self.alone = {job.id: time_alone(job) for job in problem.jobs}

    def _tails(self, arcs: list[Arc]) -> dict[str, int]:
        """Return the least time from each step's end to the end of everything."""
        # Distance from start to the end of the plan, by longest path on reversed arcs.
        out = [Arc(arc.head, arc.tail, arc.length, arc.reason) for arc in arcs]
        distance = earliest_starts(self.shortest, out, self.shortest)
        return {name: distance[name] - self.shortest[name] for name in self.shortest}

    def _own_tails(self, longest: dict[str, int]) -> dict[str, int]:
        """Return the least time from each step's end to the end of its job, by lags inside the job."""
        tails: dict[str, int] = {}
        for job in self.problem.jobs:
            own = {step.id: self.shortest[step.id] for step in job.steps()}
            arcs = [arc for arc in arcs_of(job_lags(job), own, longest) if arc.head not in self.fixed]
            out = [Arc(arc.head, arc.tail, arc.length, arc.reason) for arc in arcs]
            distance = earliest_starts(own, out, own)
            tails.update({name: distance[name] - own[name] for name in own})
        return tails

    def _loads(self) -> Loads:
        loads: Loads = defaultdict(list)
        for job in self.problem.jobs:
            for step in job.steps():
                if step.id not in self.fixed and step.batch is None:
                    for thing in _always_used(step):
                        loads[thing].append(self._load(step, job, thing))
        return loads

    def _load(self, step: Step, job: Job, thing: str) -> tuple[int, int, int, str]:
        work = self.shortest[step.id]
        return (self.head[step.id], work, self.own_tail[step.id], job.id)

    def makespan(self) -> int:
        """Return the greatest of critical path, load with heads and tails, and energy."""
        best = max((self.head[name] + self.shortest[name] for name in self.head), default=0)
        for job in self.problem.jobs:
            for step in job.steps():
                if step.id in self.fixed:
                    best = max(best, self.fixed[step.id].end)
        for rows in self.loads.values():
            best = max(best, preemptive_one_machine([(head, work, tail) for head, work, tail, _ in rows]))
        for resource in self.problem.resources:
            best = max(best, self._energy(resource.id, resource.capacity))
        return best

    def _energy(self, resource: str, capacity: int) -> int:
        energy, head, tail = 0, None, None
        for step in self.problem.steps():
            if step.id in self.fixed:
                continue
            least = min(
                mode.duration * sum(d.quantity for d in mode.demands if d.resource == resource) for mode in step.modes
            )
            if least:
                energy += least
                head = self.head[step.id] if head is None else min(head, self.head[step.id])
                tail = self.tail[step.id] if tail is None else min(tail, self.tail[step.id])
        if not energy or capacity <= 0 or head is None or tail is None:
            return 0
        return head + -(-energy // capacity) + tail

    def flow(self, *, guard: bool) -> int:
        """Return the greatest of the bounds on the weighted flow."""
        alone: dict[str, int] = {}
        for job in self.problem.jobs:
            ends = [self.head[step.id] + self.shortest[step.id] for step in job.steps()]
            alone[job.id] = max(ends, default=job.release)
        base = self._cost(alone, guard)
        return max([base, *(self._smith(rows, alone, guard=guard) for rows in self.loads.values() if len(rows) > 1)])

    def _cost(self, finish: dict[str, int], guard: bool) -> int:
        total = 0
        for job in self.problem.jobs:
            flow = finish[job.id] - job.release
            cost = flow
            if guard:
                cost += max(0, flow - STRETCH_LIMIT * self.alone[job.id])
                if job.due is not None:
                    cost += TARDINESS_FACTOR * max(0, finish[job.id] - job.due)
            total += job.weight * cost
        return total

    def _smith(self, rows: list[tuple[int, int, int, str]], alone: dict[str, int], *, guard: bool) -> int:
        """Return the bound of one device: mean-busy-date relaxation plus what must follow.

        Preemptive WSPT with release dates minimises the weighted sum of mean busy dates (Goemans 1997). A
        job's last work on the device ends no earlier than its mean busy date plus half its work; its tail
        follows.
        """
        work: dict[str, int] = defaultdict(int)
        head: dict[str, int] = {}
        tail: dict[str, int] = {}
        for start, length, after, job in rows:
            work[job] += length
            head[job] = min(head.get(job, start), start)
            tail[job] = min(tail.get(job, after), after)
        weight = {job.id: job.weight for job in self.problem.jobs}
        best = 0.0
        extra: dict[str, float] = dict.fromkeys(weight, 0.0)
        for turn in range(16 if guard else 1):
            heavy = {name: weight[name] * (1 + extra[name]) for name in weight}
            busy = mean_busy_dates({name: (head[name], work[name], heavy[name]) for name in work if work[name]})
            total = 0.0
            for owner in self.problem.jobs:
                name = owner.id
                flow: float = alone[name] - owner.release
                if name in busy:
                    flow = busy[name] + work[name] / 2 + tail[name] - owner.release
                limit = STRETCH_LIMIT * self.alone[name]
                total += heavy[name] * flow - weight[name] * extra[name] * limit
                # The guard's part is at least `extra` times the excess, for any `extra` between 0 and 1.
                extra[name] += ((1.0 if flow > limit else 0.0) - extra[name]) / (1 + turn / 2)
            best = max(best, total)
        return int(best + 1 - 1e-6)


def _always_used(step: Step) -> set[str]:
    """Return the devices that a step occupies alone in each of its modes."""
    sets = [{use.device for use in mode.uses if not use.still} for mode in step.modes]
    return set.intersection(*sets) if sets else set()


def preemptive_one_machine(rows: list[tuple[int, int, int]]) -> int:
    """Return Jackson's bound: the optimum of one machine with heads and tails if work may be split."""
    order = sorted(row for row in rows if row[1])
    ready: list[list[int]] = []
    time = best = i = 0
    while i < len(order) or ready:
        if not ready and order[i][0] > time:
            time = order[i][0]
        while i < len(order) and order[i][0] <= time:
            heapq.heappush(ready, [-order[i][2], order[i][1]])
            i += 1
        until = order[i][0] if i < len(order) else None
        top = ready[0]
        done = top[1] if until is None else min(top[1], until - time)
        time += done
        top[1] -= done
        if top[1] == 0:
            best = max(best, time - top[0])
            heapq.heappop(ready)
    return best


def mean_busy_dates(jobs: dict[str, tuple[int, int, float]]) -> dict[str, float]:
    """Return each job's mean busy date in the preemptive WSPT schedule.

    Parameters
    ----------
    jobs
        (release, work, weight) by id; work positive.
    """
    order = sorted(jobs, key=lambda name: jobs[name][0])
    left = {name: jobs[name][1] for name in jobs}
    moment: dict[str, float] = dict.fromkeys(jobs, 0.0)
    ready: list[tuple[float, str]] = []
    time = i = 0
    while i < len(order) or ready:
        if not ready and jobs[order[i]][0] > time:
            time = jobs[order[i]][0]
        while i < len(order) and jobs[order[i]][0] <= time:
            name = order[i]
            heapq.heappush(ready, (-jobs[name][2] / jobs[name][1], name))
            i += 1
        name = ready[0][1]
        until = jobs[order[i]][0] if i < len(order) else None
        done = left[name] if until is None else min(left[name], until - time)
        moment[name] += done * (time + done / 2)
        time += done
        left[name] -= done
        if left[name] == 0:
            heapq.heappop(ready)
    return {name: moment[name] / jobs[name][1] for name in jobs}
