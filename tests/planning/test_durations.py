"""Learnt durations: ranges that hold as often as they claim."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from scheduler.planning.durations import DurationModel, student
from scheduler.planning.forecast import forecast, predict_finishes
from scheduler.planning.live import LiveTable
from scheduler.planning.problem import Device, Fixed, Hold, Problem, Resource

from .factory import job, step


@pytest.mark.parametrize("seed", range(3))
def test_80_percent_ranges_hold_75_to_85_percent_of_the_time(seed):
    """Predict each step before it is observed, over kinds with their own bias, with log-normal noise."""
    rng = random.Random(seed)
    bias = {f"kind{n}": rng.uniform(0.7, 1.6) for n in range(12)}
    model, held, count = DurationModel(), 0, 0
    for _ in range(2400):
        kind = rng.choice(list(bias))
        planned = rng.choice((30, 120, 600, 3600))
        real = planned * bias[kind] * rng.lognormvariate(0, 0.3)
        if model.factor(kind).count >= 3:
            held += model.range(kind, planned).holds(real)
            count += 1
        model.observe(kind, planned, real)
    assert count >= 1000
    assert 0.75 <= held / count <= 0.85


def test_the_first_observations_are_not_overtrusted():
    few, many = DurationModel(), DurationModel()
    rng = random.Random(1)
    for n in range(200):
        real = 100 * rng.lognormvariate(0.5, 0.3)
        many.observe("k", 100, real)
        if n < 2:
            few.observe("k", 100, real)
    wide, narrow = few.range("k", 100), many.range("k", 100)
    assert wide.high / wide.low > narrow.high / narrow.low
    assert narrow.median == pytest.approx(100 * 2.718281828**0.5, rel=0.1)


def test_student_quantiles():
    assert student(1.2815515655, 5) == pytest.approx(1.4759, abs=0.002)
    assert student(1.2815515655, 30) == pytest.approx(1.3104, abs=0.001)


def test_kinds_are_planned_as_they_have_been_and_lean_on_their_parents():
    model = DurationModel(("uv/measure", 100.0, 150.0) for _ in range(20))
    assert model.expected("uv/measure", 60) == pytest.approx(90, rel=0.02)
    assert model.expected("uv/measure|long", 60) == pytest.approx(90, rel=0.02)
    assert model.expected("furnace/dry", 60) == 60
    for _ in range(40):
        model.observe("uv/measure|long", 100, 300)
    assert model.expected("uv/measure|long", 60) == pytest.approx(180, rel=0.1)
    assert model.expected("uv/measure|short", 60) < 160


def learnt(*factors: float) -> DurationModel:
    return DurationModel(("k", 100.0, 100.0 * factor) for factor in factors * 20)


def test_late_and_early_steps_move_what_shares_their_device():
    problem = Problem((job("a", step("a1", 100, "arm")), job("b", step("b1", 100, "arm"))), (Device("arm"),))
    model = learnt(0.8, 1.0, 1.25)
    found = predict_finishes(problem, LiveTable(problem).plan(), model, {"a1": "k", "b1": "k"})
    start, finish = found["b"]
    first = found["a"][1]
    assert first.low < 100 < first.high
    assert (start.low, start.high) == (first.low, first.high)
    # Wider than that of one step, but not twice as wide: they err independently.
    assert 1.1 < (finish.high - finish.low) / (first.high - first.low) < 2
    assert found == predict_finishes(problem, LiveTable(problem).plan(), model, {"a1": "k", "b1": "k"})


def test_a_common_error_adds_up_along_a_job():
    """Nobody has seen these steps before: if one takes longer than said, so will the others."""
    steps = [step(f"a{n}", 100, "arm") for n in range(9)]
    problem = Problem((job("a", *steps),), (Device("arm"),))
    unseen, seen = DurationModel(), learnt(*(2.718281828 ** (0.4 * z) for z in (-1.28, -0.5, 0, 0.5, 1.28)))
    kinds = {one.id: "k" for one in steps}
    wide = predict_finishes(problem, LiveTable(problem).plan(), unseen, kinds)["a"][1]
    narrow = predict_finishes(problem, LiveTable(problem).plan(), seen, kinds)["a"][1]
    assert wide.high - wide.low > 1.4 * (narrow.high - narrow.low)


def test_what_has_run_for_long_takes_longer():
    problem = Problem((job("a", step("a1", 100, "arm")),), (Device("arm"),), fixed=(Fixed("a1", 0, 160),), now=150)
    found = forecast(problem, LiveTable(problem).plan(), learnt(0.8, 1.0, 1.25), {"a1": "k"})
    assert min(found.ends["a1"]) >= 150
    fresh = forecast(replace(problem, now=10), LiveTable(problem).plan(), learnt(0.8, 1.0, 1.25), {"a1": "k"})
    assert sum(fresh.ends["a1"]) < sum(found.ends["a1"])


def test_a_place_that_somebody_gives_back_late_is_waited_for():
    hold = (Hold("slots", "a1", "a1"),), (Hold("slots", "b1", "b1"),)
    jobs = (job("a", step("a1", 100, "arm"), holds=hold[0]), job("b", step("b1", 10, "cam"), holds=hold[1]))
    problem = Problem(jobs, (Device("arm"), Device("cam")), (Resource("slots", 1),))
    found = forecast(problem, LiveTable(problem).plan(), learnt(0.5, 1.0, 2.0), {"a1": "k"})
    assert found.starts["b1"] == found.ends["a1"]
