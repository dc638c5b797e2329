"""The live table: jobs come and go, steps run late, and what stands always keeps every rule."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from scheduler.planning.checker import check, hard_violations
from scheduler.planning.live import LiveTable
from scheduler.planning.problem import (
    Blocked,
    Device,
    Fixed,
    Hold,
    Job,
    Problem,
    ProblemError,
    Resource,
    Setup,
    Task,
)

from .factory import job, kitchen_sink, random_problem, step


def lab(*jobs: Job, **rest) -> Problem:
    return Problem(jobs, (Device("arm"), Device("cam")), (Resource("slots", 3),), **rest)


def test_insert_answers_with_start_and_finish_and_uses_gaps():
    live = LiveTable(lab())
    assert live.insert(job("a", step("a1", 4, "arm", min_gap=6, max_gap=6), step("a2", 2, "arm"))).finish == 12
    place = live.insert(job("b", step("b1", 5, "arm")))
    assert (place.start, place.finish) == (4, 9)
    assert check(live.problem(), live.plan()) == []


def test_a_refused_job_leaves_nothing_behind():
    live = LiveTable(lab(job("a", step("a1", 9, "arm"))))
    before = live.plan()
    place = live.insert(job("b", step("b1", 5, "arm"), deadline=6))
    assert not place.placed
    assert "deadline at 6" in place.reason
    assert live.plan() == before
    assert live.insert(job("b", step("b1", 5, "arm"), deadline=20)).placed


def test_names_must_exist_and_be_new():
    live = LiveTable(lab(job("a", step("a1", 1, "arm"))))
    with pytest.raises(ProblemError, match="already there"):
        live.insert(job("a", step("x", 1, "arm")))
    with pytest.raises(ProblemError, match="does not exist"):
        live.insert(job("b", step("b1", 1, "drill")))
    assert live.insert(job("b", step("b1", 1, "arm"))).placed


def test_an_overrun_within_the_slack_moves_nothing_and_beyond_it_is_repaired():
    live = LiveTable(lab(job("a", step("a1", 4, "arm")), job("b", step("b1", 3, "arm"), release=6)))
    live.pin("a1", 0, 4)
    assert live.extend("a1", 6)
    assert live.plan().starts["b1"] == 6
    assert not live.extend("a1", 9)
    assert str(live.repair()) == "1 step moved, worst +3 s for job b"
    assert check(live.problem(), live.plan()) == []


def test_a_rigid_block_follows_its_late_first_step():
    live = LiveTable(lab(job("a", step("a1", 4, "arm", max_gap=0), step("a2", 3, "arm"))))
    live.pin("a1", 1, 5)
    live.repair()
    assert live.plan().starts["a2"] == 5
    live.advance(6)
    live.extend("a1", 8)
    live.repair()
    assert live.plan().starts["a2"] == 8
    live.complete("a1", 8)
    live.pin("a2", 8, 11)
    live.complete("a2", 11)
    live.forget("a")
    assert live.plan().starts == {}


def test_removing_steps_frees_their_places_and_forgets_empty_jobs():
    live = LiveTable(lab(job("a", step("a1", 4, "arm"), step("a2", 3, "arm")), job("b", step("b1", 9, "arm"))))
    live.remove(["a2"])
    assert set(live.plan().starts) == {"a1", "b1"}
    live.remove(["a1"])
    assert [one.id for one in live.problem().jobs] == ["b"]
    assert live.insert(job("c", step("c1", 4, "arm"))).start == 0


def test_a_lost_device_moves_what_can_move():
    live = LiveTable(lab(job("a", step("a1", 4, "arm")), job("b", step("b1", 2, "cam"))))
    moved = live.change(devices=(Device("arm", (Blocked(0, 50, "repair"),)), Device("cam")))
    assert live.plan().starts == {"a1": 50, "b1": 0}
    assert [move.step for move in moved.moved] == ["a1"]


def test_a_still_step_on_a_device_that_nobody_kept_still_before():
    live = LiveTable(lab(job("a", step("a1", 4, "arm"))))
    assert live.insert(job("b", step("b1", 4, "~arm"))).start == 4
    assert live.insert(job("c", step("c1", 9, "~arm"))).start == 4
    assert check(live.problem(), live.plan()) == []


def test_an_open_hold_of_a_running_job_keeps_its_slot():
    hold = Hold("slots", "a1", "a2", 3)
    first = Job("a", (Task("t", (step("a1", 2, max_gap=None), step("a2", 2, "arm"))),), holds=(hold,))
    live = LiveTable(lab(first, job("busy", step("x", 10, "arm")), fixed=(Fixed("x", 0, 10),)))
    live.pin("a1", 0, 2)
    live.repair()
    live.advance(3)
    place = live.insert(job("b", step("b1", 1, "slots*1")))
    assert place.start == 12
    assert check(live.problem(), live.plan()) == []


def test_fixed_work_on_devices_with_setups():
    devices = (Device("cam", setups=(Setup("x", "y", 5), Setup("y", "x", 5)), state="x"),)
    one, two = job("a", step("a1", 2, "cam", family="x")), job("b", step("b1", 2, "cam", family="y"))
    live = LiveTable(Problem((one, two), devices))
    live.pin("a1", 0, 3)
    live.repair()
    assert live.plan().starts["b1"] == 8
    assert check(live.problem(), live.plan()) == []


def due(live: LiveTable, now: int) -> str | None:
    """The first step that the plan wants to have started by now."""
    fixed = {one.step for one in live.problem().fixed}
    waiting = [(start, name) for name, start in live.plan().starts.items() if name not in fixed]
    return min(waiting)[1] if waiting and min(waiting)[0] <= now else None


@pytest.mark.parametrize("seed", range(12))
def test_a_random_life_always_keeps_every_rule(seed):
    """Jobs arrive, steps start when they are due, run early or late, finish and are forgotten."""
    rng = random.Random(seed)
    source = random_problem(seed, jobs=14)
    live = LiveTable(replace(source, jobs=()))
    waiting = [replace(one, release=0) for one in source.jobs]
    ends: dict[str, int] = {}
    live_jobs: set[str] = set()
    for now in range(0, 900, 3):
        live.advance(now)
        if waiting and rng.random() < 0.4:
            new = waiting.pop()
            assert live.insert(new).placed
            live_jobs.add(new.id)
        for name in [name for name, end in ends.items() if end <= now]:
            live.complete(name, ends.pop(name))
        if live.dirty:
            live.repair()
        while (name := due(live, now)) is not None:
            plan = live.plan()
            length = plan.ends[name] - plan.starts[name]
            real = max(1, round(length * rng.choice((0.7, 1, 1, 1.5)))) if length else 0
            ends[name] = now + real
            live.pin(name, now, now + real)
            if live.dirty:
                live.repair()
        for name in sorted(live_jobs):
            own = [one.id for one in live.problem().index().job_of[next(live._jobs[name].steps()).id].steps()]
            states = [live._fixed[one].state if one in live._fixed else "free" for one in own]
            if set(states) == {"completed"}:
                live.forget(name)
                live_jobs.discard(name)
        bad = [v for v in check(live.problem(), live.plan()) if v.kind not in ("lag_max", "window", "missing")]
        assert not bad, (now, bad)
        assert not live.unplaced
    assert not live_jobs
    assert not waiting


def test_repair_of_the_kitchen_sink_keeps_what_fits():
    problem = kitchen_sink()
    live = LiveTable(problem)
    before = live.plan()
    live.extend("E.run", 9)
    moved = live.repair()
    assert hard_violations(live.problem(), live.plan()) == []
    assert live.plan().starts["F.load"] == before.starts["F.load"]
    assert len(moved.moved) < len(before.starts) / 2
