"""The masking table against a brute-force oracle, and against the independent checker."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from scheduler.planning.checker import check
from scheduler.planning.network import LagCycleError, arcs_of, earliest_starts, job_lags
from scheduler.planning.plan import Plan
from scheduler.planning.problem import (
    Blocked,
    Demand,
    Device,
    Fixed,
    Hold,
    Job,
    Lag,
    Mode,
    Problem,
    Resource,
    Step,
    Task,
    Use,
)
from scheduler.planning.table import MaskingTable

from .factory import job, kitchen_sink, random_problem, step

HORIZON = 40


def oracle(problem: Problem, chain: list[str]) -> dict[str, int] | None:
    """The first feasible start of every step in lexicographic order, by trying them all.

    The feasible starts of a chain whose steps do not compete are closed under the componentwise minimum, so
    the lexicographically first is also the least in every component.
    """
    steps = {one.id: one for one in problem.steps()}
    tries: list[int] = []

    def search(starts: dict[str, int], rest: list[str]) -> dict[str, int] | None:
        if not rest:
            return starts
        for time in range(HORIZON):
            tries.append(time)
            if len(tries) > 40_000:
                reject()  # too slow to be worth it
            tried = {**starts, rest[0]: time}
            if not violations(tried) and (found := search(tried, rest[1:])) is not None:
                return found
        return None

    def violations(starts: dict[str, int]) -> bool:
        placed = dict(starts)
        ends, modes = {}, {}
        for fixed in problem.fixed:
            placed[fixed.step] = fixed.start
        for name, start in placed.items():
            modes[name] = 0
            ends[name] = start + steps[name].modes[0].duration
        found = check(problem, Plan(placed, ends, modes))
        return any(violation.kind != "missing" for violation in found)

    return search({}, chain)


@st.composite
def chain_in_a_busy_lab(draw) -> Problem:
    """A chain of up to four steps on different devices among fixed reservations, with lags and a hold."""
    busy, fixed = [], []
    for device in range(4):
        time = 0
        for n in range(draw(st.integers(0, 4))):
            time += draw(st.integers(0, 4))
            length = draw(st.integers(1, 4))
            name = f"busy{device}.{n}"
            busy.append(Job(name, (Task(name, (step(name, length, f"d{device}"),)),)))
            fixed.append(Fixed(name, time, time + length, 0, "frozen"))
            time += length
    for n in range(draw(st.integers(0, 3))):
        name, start, length = f"slot{n}", draw(st.integers(0, 20)), draw(st.integers(1, 6))
        busy.append(Job(name, (Task(name, (step(name, length, "slots*1"),)),)))
        fixed.append(Fixed(name, start, start + length, 0, "frozen"))
    count = draw(st.integers(1, 4))
    chain = []
    for n in range(count):
        uses = (Use(f"d{n}"),) if draw(st.booleans()) or draw(st.booleans()) else ()
        low = draw(st.sampled_from((0, 0, 2, 3)))
        high = draw(st.sampled_from((None, low, low, low + 2, low + 5)))
        chain.append(Step(f"s{n}", (Mode(draw(st.integers(1, 4)), uses),), low, high))
    holds = ()
    if draw(st.booleans()):
        first = draw(st.integers(0, count - 1))
        last = draw(st.integers(first, count - 1))
        holds = (Hold("slots", f"s{first}", f"s{last}", draw(st.integers(1, 2))),)
    lags = ()
    if count > 2 and draw(st.booleans()):
        lags = (Lag("s0", f"s{count - 1}", "start", "end", None, draw(st.integers(10, 20))),)
    devices = tuple(Device(f"d{n}", (Blocked(9, 11),) if n == 1 else ()) for n in range(4))
    mine = Job("mine", (Task("mine", tuple(chain)),), lags, holds, release=draw(st.integers(0, 3)))
    return Problem((*busy, mine), devices, (Resource("slots", 3),), fixed=tuple(fixed))


@settings(max_examples=60, deadline=None)
@given(chain_in_a_busy_lab())
def test_a_chain_gets_the_earliest_start_of_every_step(problem):
    mine = problem.jobs[-1]
    chain = [one.id for one in mine.steps()]
    length = {one.id: one.modes[0].duration for one in mine.steps()}
    try:
        earliest_starts(chain, arcs_of(job_lags(mine), length))
    except LagCycleError:
        reject()  # nothing to find, and the oracle would look everywhere
    table = MaskingTable(problem)
    refusal = table.place_job("mine")
    expected = oracle(problem, chain)
    starts = table.spans()[0]
    if expected is None:
        assert refusal is not None or max(starts.values()) > HORIZON - 25
    else:
        assert refusal is None
        assert {name: starts[name] for name in chain} == expected


@pytest.mark.parametrize("seed", range(6))
def test_a_crowded_table_agrees_with_one_that_tries_every_tick(seed):
    """Rigid chains on three devices, some freed again: what is remembered of gaps must stay true."""
    rng = random.Random(seed)
    jobs = []
    for number in range(160):
        steps = []
        for n in range(rng.randint(1, 3)):
            gap = rng.choice((0, 0, 3, 8))
            steps.append(
                step(f"{number}.{n}", rng.randint(1, 9), f"d{rng.randrange(3)}", min_gap=gap, max_gap=gap)
            )
        jobs.append(job(str(number), *steps, release=rng.choice((0, 0, 0, 40, 150))))
    table = MaskingTable(Problem(tuple(jobs), tuple(Device(f"d{n}") for n in range(3))))
    busy: set[tuple[str, int]] = set()
    placed: dict[str, set[tuple[str, int]]] = {}
    for one in jobs:
        cells = lambda start, one=one: {  # noqa: E731
            (s.modes[0].uses[0].device, start + offset + tick)
            for s, offset in zip(one.steps(), offsets(one), strict=True)
            for tick in range(s.modes[0].duration)
        }
        expected = next(time for time in range(one.release, 10_000) if not cells(time) & busy)
        assert table.place_job(one.id) is None
        assert table.job_span(one.id)[0] == expected
        placed[one.id] = cells(expected)
        busy |= placed[one.id]
        if rng.random() < 0.1:
            gone = rng.choice(list(placed))
            for index in table.job_units[gone]:
                table.unseat(index)
            busy -= placed.pop(gone)


def offsets(one: Job) -> list[int]:
    """Start of each step of a rigid chain relative to the first."""
    found, time = [], 0
    for s in one.steps():
        found.append(time)
        time += s.modes[0].duration + s.min_gap
    return found


def test_after_a_jump_the_same_step_is_checked_again_at_the_new_time():
    """The trap of the first prototype: a conflict on one device moves the chain onto another conflict."""
    fixed = [("a0", "x", 0, 4), ("a1", "x", 6, 9), ("b0", "y", 5, 8), ("b1", "y", 10, 12)]
    busy = [
        Job(name, (Task(name, (step(name, end - start, device),)),)) for name, device, start, end in fixed
    ]
    mine = job("j", step("s", 2, "x", max_gap=0), step("t", 2, "y"))
    problem = Problem(
        (*busy, mine),
        (Device("x"), Device("y")),
        fixed=tuple(Fixed(name, start, end, 0, "frozen") for name, _, start, end in fixed),
    )
    table = MaskingTable(problem)
    assert table.place_job("j") is None
    assert table.spans()[0]["s"] == 10


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5))
def test_whatever_is_placed_keeps_every_rule(seed, jobs):
    problem = random_problem(seed, jobs=jobs)
    table = MaskingTable(problem)
    for one in problem.jobs:
        assert table.place_job(one.id) is None
    assert check(problem, Plan(*table.spans())) == []


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.randoms())
def test_freeing_and_restoring_leave_no_trace(seed, rng):
    problem = random_problem(seed)
    table = MaskingTable(problem)
    jobs = [one.id for one in problem.jobs]
    for name in jobs[:2]:
        table.place_job(name)
    before, state = table.spans(), contents(table)
    snapshot = table.snapshot()
    for name in jobs[2:]:
        table.place_job(name)
    table.restore(snapshot)
    assert (table.spans(), contents(table)) == (before, state)
    for name in jobs[2:]:
        table.place_job(name)
    units = [index for name in jobs[2:] for index in table.job_units[name]]
    rng.shuffle(units)
    for index in units:
        table.unseat(index)
    assert (table.spans(), contents(table)) == (before, state)


def contents(table: MaskingTable) -> list:
    """What all calendars hold."""
    unary = [repr((calendar.starts, calendar.ends)) for calendar in table.unary]
    other = [
        tuple(getattr(calendar, name) for name in calendar.__slots__ if name != "closed")
        for calendar in table.other
    ]
    return [*unary, *map(repr, other)]


def test_everything_at_once():
    problem = kitchen_sink()
    table = MaskingTable(problem)
    for one in problem.jobs:
        assert table.place_job(one.id) is None
    starts = table.spans()[0]
    assert check(problem, Plan(*table.spans())) == []
    assert starts["C.bake"] == starts["D.bake"]  # one batch of 3 + 4 in an oven for 8
    assert starts["E.next"] >= 7  # the running step is late


def test_an_impossible_job_is_refused_and_leaves_nothing_behind():
    one = job("j", step("a", 2, "arm", max_gap=1), step("b", 2, "arm"), deadline=3)
    problem = Problem((one,), (Device("arm"),))
    table = MaskingTable(problem)
    refusal = table.place_job("j")
    assert refusal is not None
    assert refusal.rule == "deadline"
    assert table.spans() == ({}, {}, {})
    assert contents(table) == contents(MaskingTable(problem))


def test_elastic_placing_breaks_a_window_only_when_nothing_else_can_move():
    """The second step has to wait for the late fixed one: refused when strict, late by two when elastic."""
    late = job("late", step("l", 6, "arm"))
    mine = job("mine", step("a", 2, max_gap=2), step("b", 2, "arm"))
    problem = Problem((late, mine), (Device("arm"),), fixed=(Fixed("l", 0, 8), Fixed("a", 0, 4)), now=4)
    table = MaskingTable(problem)
    refusal = table.place_job("mine")
    assert refusal is not None
    assert refusal.rule == "window"
    assert table.place_job("mine", elastic=True) is None
    assert table.spans()[0]["b"] == 8


def test_alternative_modes_take_the_one_that_ends_first():
    either = Step("s", (Mode(4, (Use("slow"),)), Mode(3, (Use("fast"),))))
    busy = job("busy", step("b", 2, "fast"))
    problem = Problem(
        (busy, Job("j", (Task("t", (either,)),))), (Device("slow"), Device("fast")), fixed=(Fixed("b", 0, 2),)
    )
    table = MaskingTable(problem)
    table.place_job("j")
    starts, _, modes = table.spans()
    assert (starts["s"], modes["s"]) == (0, 0)


def test_demand_above_capacity_is_refused_not_searched_for_ever():
    one = Job("j", (Task("t", (Step("s", (Mode(1, demands=(Demand("r", 3),)),)),)),))
    table = MaskingTable(Problem((one,), resources=(Resource("r", 2),)))
    refusal = table.place_job("j")
    assert refusal is not None
    assert refusal.rule == "capacity"
