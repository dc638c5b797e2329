"""The temporal network: lags as difference constraints, longest paths, and the cycle that makes them
impossible.

Every lag with a minimum `d` between two starts is an arc of length `d`; a maximum `d` is an arc back of
length `-d`. Bellman-Ford on these arcs gives earliest starts, or the positive cycle that no plan can satisfy
(Bartusch, Moehring and Radermacher 1988).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from scheduler.planning.problem import Job, Lag, Problem, Step, chain_lags


@dataclass(frozen=True, slots=True)
class Arc:
    """``start(head) >= start(tail) + length``; `reason` is the lag it comes from."""

    tail: str
    head: str
    length: int
    reason: Lag


class LagCycleError(ValueError):
    """Lags that contradict each other; `lags` are those on the cycle, `excess` by how many ticks they do."""

    def __init__(self, lags: list[Lag], excess: int) -> None:
        names = " → ".join(f"{lag.first}" for lag in lags)
        super().__init__(f"the lags along {names} contradict each other by {excess} ticks")
        self.lags = lags
        self.excess = excess


def shortest_duration(step: Step) -> int:
    """Return the duration in ticks of the step's shortest mode."""
    return min(mode.duration for mode in step.modes)


def arcs_of(
    lags: Iterable[Lag],
    shortest: Mapping[str, int],
    longest: Mapping[str, int] | None = None,
    *,
    soft: bool = False,
) -> list[Arc]:
    """Turn lags into arcs between starts, relaxed over the modes so that no feasible plan is cut off.

    Parameters
    ----------
    lags
        Those whose steps are both in `shortest` count.
    shortest, longest
        Duration of each step in ticks in its shortest and longest mode; equal if `longest` is omitted.
    soft
        Whether soft maxima count too.
    """
    longest = shortest if longest is None else longest
    arcs = []
    for lag in lags:
        if lag.first not in shortest or lag.second not in shortest:
            continue
        low_first, high_first = _range(lag.first, lag.first_point == "end", shortest, longest)
        low_second, high_second = _range(lag.second, lag.second_point == "end", shortest, longest)
        if lag.min is not None:
            arcs.append(Arc(lag.first, lag.second, lag.min + low_first - high_second, lag))
        if lag.max is not None and (soft or lag.cost is None):
            arcs.append(Arc(lag.second, lag.first, low_second - high_first - lag.max, lag))
    return arcs


def _range(step: str, at_end: bool, shortest: Mapping[str, int], longest: Mapping[str, int]) -> tuple[int, int]:
    return (shortest[step], longest[step]) if at_end else (0, 0)


def earliest_starts(
    steps: Iterable[str], arcs: Iterable[Arc], release: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Return the least start of each step that satisfies all arcs and releases.

    Raises
    ------
    LagCycleError
        If the arcs contain a positive cycle.
    """
    start = {step: (release or {}).get(step, 0) for step in steps}
    out: dict[str, list[Arc]] = {step: [] for step in start}
    for arc in arcs:
        out[arc.tail].append(arc)
    via: dict[str, Arc] = {}
    turns = dict.fromkeys(start, 0)
    queue, queued = deque(start), set(start)
    while queue:
        tail = queue.popleft()
        queued.discard(tail)
        for arc in out[tail]:
            if start[tail] + arc.length > start[arc.head]:
                start[arc.head] = start[tail] + arc.length
                via[arc.head] = arc
                if arc.head not in queued:
                    # Without a cycle nobody waits its turn more often than there are steps, however often it is raised.
                    turns[arc.head] += 1
                    if turns[arc.head] > len(start):
                        _raise_cycle(arc.head, via)
                    queue.append(arc.head)
                    queued.add(arc.head)
    return start


def _raise_cycle(step: str, via: Mapping[str, Arc]) -> None:
    """Walk back along the arcs that set the labels until a step repeats: that is the cycle."""
    seen: set[str] = set()
    while step not in seen:
        seen.add(step)
        step = via[step].tail
    cycle, at = [], step
    while True:
        arc = via[at]
        cycle.append(arc)
        at = arc.tail
        if at == step:
            break
    raise LagCycleError([arc.reason for arc in reversed(cycle)], sum(arc.length for arc in cycle))


def job_lags(job: Job) -> list[Lag]:
    """Return all lags inside a job: those of its chains and its own."""
    lags = [lag for task in job.tasks for lag in chain_lags(task)]
    lags.extend(job.lags)
    return lags


def time_alone(job: Job) -> int:
    """Return the length in ticks of the job's longest path: no plan finishes it faster.

    A job whose lags contradict each other has no meaningful value; the sum of its durations is returned.
    """
    shortest = {step.id: shortest_duration(step) for step in job.steps()}
    longest = {step.id: max(mode.duration for mode in step.modes) for step in job.steps()}
    try:
        start = earliest_starts(shortest, arcs_of(job_lags(job), shortest, longest))
    except LagCycleError:
        return sum(shortest.values())
    return max((start[step] + shortest[step] for step in start), default=0)


def alone(problem: Problem) -> dict[str, int]:
    """Return `time_alone` of every job, by id."""
    return {job.id: time_alone(job) for job in problem.jobs}
