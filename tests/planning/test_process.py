"""The planner in a process of its own, killed at random moments."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from scheduler.planning.bench.kill import kill_once
from scheduler.planning.checker import hard_violations
from scheduler.planning.limits import Limits
from scheduler.planning.policies import make_plan
from scheduler.planning.process import SolverError, SolverProcess

from .factory import random_problem


def test_plans_come_as_they_are_found_and_get_better():
    problem = random_problem(5, jobs=6)
    incumbent = make_plan(problem, "fcfs")
    values = [incumbent.objective]
    with SolverProcess(problem, incumbent=incumbent, limits=Limits(deterministic=1.0)) as child:
        for progress in child.plans():
            assert not hard_violations(problem, progress.plan)
            values.append(progress.plan.objective)
        best = child.best
    assert len(values) > 1
    assert values == sorted(values, reverse=True)
    assert best is not None
    assert best.objective == values[-1]


@pytest.mark.parametrize("seed", range(5))
def test_killed_at_any_moment_the_plan_in_force_verifies_and_never_got_worse(seed):
    _, _, broken, worse = kill_once(seed)
    assert not broken
    assert not worse


def test_asked_to_stop_it_ends_with_what_it_has():
    problem = random_problem(3, jobs=8)
    with SolverProcess(problem, limits=Limits(wall=600.0)) as child:
        assert child.poll(None) is not None
        child.stop()
        for _ in child.plans():
            pass
        assert child.best is not None
        assert not hard_violations(problem, child.best)


def test_the_child_does_not_outlive_who_asked():
    parent = """
import os
from scheduler.planning.limits import Limits
from scheduler.planning.bench.kill import kill_once
from scheduler.planning.process import SolverProcess
from tests.planning.factory import random_problem
child = SolverProcess(random_problem(4, jobs=12), limits=Limits(wall=600.0))
print(child.pid, flush=True)
os._exit(0)  # It dies without a word.
"""
    done = subprocess.run([sys.executable, "-c", parent], stdout=subprocess.PIPE, check=True)
    orphan = int(done.stdout)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and _lives(orphan):
        time.sleep(0.05)
    assert not _lives(orphan)


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_failure_of_the_child_is_named():
    with SolverProcess(random_problem(2), "guessing") as child, pytest.raises(SolverError, match="guessing"):
        child.poll(None)
