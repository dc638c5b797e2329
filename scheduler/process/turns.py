"""In which order everything is placed, as plain data: the loop and the planner children place by it alike.

What stands in the plan in force goes in that order, or fairly: what is under way goes on, and what has not begun goes
by turn (:mod:`scheduler.process.line`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from scheduler.planning.fairness import Standing
from scheduler.planning.problem import Device, Job, Problem
from scheduler.process.choice import Choice
from scheduler.process.cycles import cycle_of, is_placeholder
from scheduler.process.line import Entrant, Line

LAST = float("inf")
"""Order of what has no place in the plan yet."""
TURNS_S = 0.05
"""Real seconds in which further orders of the jobs that have not begun are tried."""
RATIO = 2.0
"""A job may stand behind one of somebody else that weighs up to so many times less …"""
NEW_RATIO = 1.2
"""… but not when it has just come: it is then put where it belongs."""

Place = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Turns:
    """Who goes when, in the plan in force and by right."""

    line: Line
    places: Mapping[str, tuple[float, ...]]
    """Step → place of its unit in the order of the plan in force."""
    tidy: tuple[str, ...] = ()
    """Steps that put something away: they go first, because others wait for the place."""
    expected: Mapping[str, int] = field(default_factory=dict)
    """First step of a placeholder's unit → its start in ticks."""
    fcfs: bool = False
    """Whether one job after the other is in the lab."""


class Order:
    """Ranks the steps of a problem: as in the plan in force, or fairly."""

    def __init__(self, problem: Problem, turns: Turns, standings: Mapping[str, Standing]) -> None:
        self.fairly = False
        self._turns = turns
        self._tidy = frozenset(turns.tidy)
        self._standings = standings
        self._entrants = {entrant.id: entrant for entrant in turns.line.entrants}
        self._job_of = {step.id: job.id for job in problem.jobs for step in job.steps()}

    def rank(self, step: str) -> Place:
        """Return a step's place in the order; whatever is there already goes before what is only expected."""
        if is_placeholder(step):
            return (LAST, self._turns.expected.get(step, LAST), cycle_of(step))
        place = self._turns.places.get(step, (LAST,))
        if step in self._tidy:
            return (-1.0, *place)
        if not (self.fairly or self._turns.fcfs):
            return place
        job = self._job_of[step]
        entrant = self._entrants.get(job)
        waits = entrant is None or not entrant.begun
        if self._turns.fcfs:
            return (waits, entrant.submitted_s if entrant is not None else LAST, place[-1])
        standing = self._standings.get(job)
        return (waits, (LAST if standing is None else standing.turn) if waits else 0.0, *place)

    def puts_away(self, step: str) -> bool:
        """Whether a step is clean-up."""
        return step in self._tidy

    def goes_on(self, step: str) -> bool:
        """Whether a step goes on with what is under way, or can not be started at all."""
        entrant = self._entrants.get(self._job_of[step])
        return entrant is None or entrant.begun or step in self._tidy

    def unfair(self, ratio: float) -> bool:
        """Whether in the order of the plan in force a job that has not begun goes before one that should."""
        if self._turns.fcfs:
            return False
        first: dict[str, Place] = {}
        for step, place in self._turns.places.items():
            job = self._job_of.get(step)
            if job is not None:
                first[job] = min(place, first.get(job, place))
        return self._turns.line.unfair({job: its.weight for job, its in self._standings.items()}, first, ratio)


def arrange(
    problem: Problem, turns: Turns, standings: Mapping[str, Standing], *, ratio: float = RATIO, anew: bool = True
) -> Choice:
    """Place everything that waits: in the order of the plan in force, or fairly if that order is unfair by this ratio.

    Jobs that have begun wait for their turn too, between their steps, where that makes the better plan. If rules would
    be broken, a plan without that is looked for.

    Parameters
    ----------
    standings
        Of the jobs in the line that have not begun.
    anew
        Whether jobs have come, begun or gone since this was done last, so that other orders are worth a try.
    """
    order = Order(problem, turns, standings)
    order.fairly = order.unfair(ratio)
    choice = Choice(problem, order.rank)
    if not turns.fcfs:
        if anew:
            _try_orders(choice, order, turns.line, standings)
        choice.mend(order.rank)
    return choice


def _try_orders(choice: Choice, order: Order, line: Line, standings: Mapping[str, Standing]) -> None:
    """Try orders in which everybody has the same turns, while that is cheap."""
    end_s = time.monotonic() + TURNS_S
    if turns := line.turns_before_begun(standings):
        # As if none had begun, except that what is put away goes first.
        choice.try_jobs(sorted(turns, key=lambda job: turns[job]), order.rank, order.puts_away)
    for jobs in line.orders({job: standing.turn for job, standing in standings.items()}):
        if time.monotonic() > end_s:
            return
        choice.try_jobs(jobs, order.rank, order.goes_on)


def rearranged(problem: Problem, turns: Turns, job: Job, entrant: Entrant, *, whole: bool) -> Choice | None:
    """Return how everything is placed again because a job comes now; None if it finds its place in the gaps.

    Parameters
    ----------
    whole
        Whether everything is placed again in any case: the plan's times are out of date, or know nothing of what the
        job needs.
    """
    line = turns.line.joined_by(entrant)
    standings = line.standings()
    # What is only expected gives way to what is there.
    behind = {step.id: (LAST, -1.0, float(number)) for number, step in enumerate(job.steps())}
    turns = replace(turns, line=line, places={**turns.places, **behind})
    more = replace(problem, jobs=(*problem.jobs, job))
    if not (whole or Order(more, turns, standings).unfair(NEW_RATIO) or line.turns_before_begun([job.id])):
        return None
    jobs = tuple(replace(one, weight=standings[one.id].weight) if one.id in standings else one for one in more.jobs)
    known = {device.id for device in problem.devices}
    keys = dict.fromkeys(setting.device for setting in job.settings if setting.device not in known)
    return arrange(
        replace(more, jobs=jobs, devices=(*problem.devices, *map(Device, keys))), turns, standings, ratio=NEW_RATIO
    )
