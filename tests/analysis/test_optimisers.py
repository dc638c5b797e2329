"""Ask and tell."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from analysis.optimisers import OPTIMISERS, TPE, Choice, Continuous, Grid, Integer, Optimiser, Random, Settings, restore

SPACE = (
    Continuous(name="volume", low=100.0, high=1200.0, unit="uL"),
    Continuous(name="rate", low=0.1, high=10.0, unit="uL/s", log=True),
    Integer(name="washes", low=1, high=3),
    Choice(name="solvent", options=("water", "ethanol")),
)


def make(kind: str, goal: str = "minimise", seed: int = 0) -> Optimiser:
    return OPTIMISERS[kind](Settings.model_validate({"space": SPACE, "goal": goal, "seed": seed}))


def bowl(values: dict[str, Any]) -> float:
    """Least (0) at volume 700, rate 1, two washes, water."""
    return (
        ((values["volume"] - 700) / 500) ** 2
        + math.log10(values["rate"]) ** 2
        + (values["washes"] - 2) ** 2
        + (values["solvent"] != "water")
    )


@settings(max_examples=30, deadline=None)
@given(
    kind=st.sampled_from(sorted(OPTIMISERS)),
    seed=st.integers(0, 2**40),
    batches=st.lists(st.integers(1, 4), max_size=5),
)
def test_suggestions_are_inside_and_follow_from_what_is_known(kind: str, seed: int, batches: list[int]) -> None:
    optimiser = make(kind, seed=seed)
    for index, count in enumerate(batches):
        restored = restore(json.loads(json.dumps(optimiser.document())))
        asked = optimiser.ask(count)
        assert restored.ask(count) == asked, "an optimiser that was restarted goes on as if nothing had happened"
        for trial in asked:
            values: dict[str, Any] = dict(trial.values)
            assert 100 <= values["volume"] <= 1200
            assert 0.1 <= values["rate"] <= 10
            assert values["washes"] in (1, 2, 3)
            assert values["solvent"] in ("water", "ethanol")
            if index % 2:
                optimiser.tell(trial.number, bowl(values))
    assert [trial.number for trial in optimiser.trials] == list(range(sum(batches)))


def test_the_grid_covers_the_space_once_and_ends() -> None:
    grid = make("grid")
    points = [tuple(trial.values.values()) for trial in grid.ask(1000)]
    assert len(points) == len(set(points)) == 5 * 5 * 3 * 2
    assert {point[0] for point in points} == {100.0, 375.0, 650.0, 925.0, 1200.0}
    assert grid.ask(1) == []


def test_random_draws_spread_over_the_space() -> None:
    volumes: list[Any] = [trial.values["volume"] for trial in make("random").ask(400)]
    assert len(set(volumes)) == 400
    quarters = [sum(100 + 275 * q <= v < 375 + 275 * q for v in volumes) for q in range(4)]
    assert min(quarters) > 70


def test_tpe_learns() -> None:
    best: dict[str, float] = {}
    for kind in ("tpe", "random"):
        optimiser = make(kind, seed=3)
        for _ in range(15):
            for trial in optimiser.ask(4):
                optimiser.tell(trial.number, bowl(trial.values))
        assert optimiser.best is not None
        best[kind] = optimiser.best.objective or 0.0
    assert best["tpe"] < best["random"]
    assert best["tpe"] < 0.05


@pytest.mark.parametrize(("goal", "expected"), [("minimise", 0), ("maximise", 1)])
def test_the_best_trial_follows_the_goal(goal: str, expected: int) -> None:
    optimiser = make("random", goal)
    optimiser.ask(4)
    assert optimiser.best is None
    optimiser.tell(0, -5.0)
    optimiser.tell(1, 5.0)
    optimiser.tell(2, math.nan)
    optimiser.tell_failed(3)
    best = optimiser.best
    assert best is not None
    assert best.number == expected
    assert [trial.state for trial in optimiser.trials] == ["measured", "measured", "failed", "failed"]


def test_failed_trials_do_not_stop_tpe() -> None:
    optimiser = make("tpe")
    for trial in optimiser.ask(15):
        optimiser.tell_failed(trial.number)
    assert len(optimiser.ask(2)) == 2


def test_telling_twice_the_same_is_harmless_and_something_else_is_refused() -> None:
    optimiser = make("random")
    optimiser.ask(1)
    optimiser.tell(0, 1.0)
    optimiser.tell(0, 1.0)
    with pytest.raises(ValueError, match="before"):
        optimiser.tell(0, 2.0)
    with pytest.raises(ValueError, match="never suggested"):
        optimiser.tell(1, 2.0)


@pytest.mark.parametrize(
    "space",
    [
        [],
        [{"kind": "continuous", "name": "a", "low": 1, "high": 1}],
        [{"kind": "continuous", "name": "a", "low": 0, "high": 1, "log": True}],
        [{"kind": "continuous", "name": "a", "low": 0, "high": math.inf}],
        [{"kind": "integer", "name": "a", "low": 2, "high": 1}],
        [{"kind": "choice", "name": "a", "options": []}],
        [{"kind": "integer", "name": "a", "low": 0, "high": 1}, {"kind": "choice", "name": "a", "options": [1]}],
        [{"kind": "code", "name": "a"}],
    ],
)
def test_bad_spaces_are_refused(space: list[dict[str, Any]]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"space": space, "goal": "minimise"})


def test_all_kinds_are_known() -> None:
    assert set(OPTIMISERS.values()) == {Random, Grid, TPE}
