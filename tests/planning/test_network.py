"""Longest paths, and the cycles that have none."""

from __future__ import annotations

import pytest

from scheduler.planning.network import Arc, LagCycleError, earliest_starts
from scheduler.planning.problem import Lag


def arc(tail: int, head: int, length: int) -> Arc:
    return Arc(str(tail), str(head), length, Lag(str(tail), str(head)))


@pytest.mark.parametrize("count", [5, 12, 30])
def test_a_step_that_is_raised_by_many_others_is_no_cycle(count):
    arcs = [arc(one + 1, one, 100) for one in range(count - 1)] + [arc(one, count, one) for one in range(count)]
    starts = earliest_starts([str(number) for number in range(count + 1)], arcs)
    assert [starts[str(number)] for number in range(count)] == [100 * (count - 1 - number) for number in range(count)]
    assert starts[str(count)] == 100 * (count - 1)


def test_a_cycle_is_named_with_what_it_asks_too_much():
    arcs = [arc(0, 1, 3), arc(1, 2, 4), arc(2, 0, -6), arc(0, 2, 5)]
    with pytest.raises(LagCycleError) as caught:
        earliest_starts("012", arcs)
    assert caught.value.excess == 1
    assert {lag.first for lag in caught.value.lags} == {"0", "1", "2"}
