"""Learnt durations: ranges that hold as often as they claim."""

from __future__ import annotations

import random

import pytest

from scheduler.planning.durations import DurationModel, predict_finishes, student
from scheduler.planning.live import LiveTable
from scheduler.planning.problem import Device, Problem

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
        if len(model._logs[kind]) >= 3:
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


def test_a_late_step_pushes_what_shares_its_device():
    problem = Problem((job("a", step("a1", 100, "arm")), job("b", step("b1", 100, "arm"))), (Device("arm"),))
    model = DurationModel(("k", 100.0, 100.0 * factor) for factor in (0.8, 1.0, 1.25) * 20)
    found = predict_finishes(problem, LiveTable(problem).plan(), model, {"a1": "k", "b1": "k"}, seed=1)
    assert found["a"][1].low < 100 < found["a"][1].high
    start, finish = found["b"]
    assert start.low == 100  # not before it is planned to
    assert start.high == pytest.approx(found["a"][1].high)
    assert finish.high - finish.low > found["a"][1].high - found["a"][1].low
