"""A planner child knows the plan as the scheduler does, although only differences cross the pipe."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random

import pytest

from scheduler.planning.plan import Plan
from scheduler.planning.problem import Job, Problem
from scheduler.process.line import Entrant, Line, Use
from scheduler.process.picture import Painter, Picture
from scheduler.process.turns import Turns
from tests.planning.factory import random_problem


def drawn(problem: Problem, dice: Random) -> tuple[Problem, Plan, Turns]:
    """Return a problem of which some jobs have come, gone, or changed, with a plan and an order."""
    jobs = [_changed(job, dice) for job in problem.jobs if dice.random() < 0.8]
    dice.shuffle(jobs)
    steps = [step.id for job in jobs for step in job.steps()]
    starts = {step: dice.randrange(1000) for step in steps if dice.random() < 0.9}
    line = Line(
        dice.random(), 3600.0, tuple(Entrant(job.id, "u", "p", 0.0, 60.0, 0.0, dice.random() < 0.5) for job in jobs),
        (Use("u", "p", 5.0, 1.0),), {"p": 2.0},
    )  # fmt: skip
    turns = Turns(line, {step: (dice.choice([1.0, float("inf")]), 2.0) for step in steps}, tuple(steps[:2]), {"x+1": 7})
    changed = replace(problem, jobs=tuple(jobs), fixed=(), lags=(), now=dice.randrange(5))
    return changed, Plan(starts, {step: start + 9 for step, start in starts.items()}, dict.fromkeys(starts, 0)), turns


def _changed(job: Job, dice: Random) -> Job:
    if dice.random() < 0.3:
        job = replace(job, release=dice.randrange(9))
    return replace(job, weight=dice.randrange(1, 2000))


@pytest.mark.parametrize("seed", range(10))
def test_what_is_painted_is_what_is_seen(seed: int) -> None:
    dice, painter, picture = Random(seed), Painter(), Picture()
    for _ in range(6):
        problem, plan, turns = drawn(random_problem(seed), dice)
        asked = {"ask": "why", "step": "s", "problem": problem, "plan": plan, "turns": turns}
        for again in (False, True):
            row = json.loads(json.dumps(painter(asked)))
            assert not (again and row["picture"]["jobs"]["set"]), "what is known is not told again"
            picture.change(row["picture"])
            assert picture.problem == problem
            assert (picture.plan.starts, picture.plan.ends) == (plan.starts, plan.ends)
            assert picture.turns == turns
    assert "picture" not in painter({"ask": "why", "step": "s"})
