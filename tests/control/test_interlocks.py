"""Interlocks at a real host: thresholds, dwell, and what they do to what runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from modules.contract.interlocks import InterlockSection, Judge
from modules.contract.lab import Lab
from tests.host.harness import HostBench, bench_of, wait_for

INTERLOCKS = """
[[interlocks]]
id = "heavy"
reading = "arm.load_n"
rule = "ceiling"
trip = 10.0
clear = 5.0
covers = ["arm"]
does = "{does}"
"""


def section(**fields: object) -> InterlockSection:
    wish = {"id": "x", "reading": "arm.load_n", "covers": ("arm",), "rule": "ceiling", "trip": 10.0, "clear": 5.0}
    return InterlockSection.model_validate(wish | fields)


def set_load(host: HostBench, newtons: float) -> None:
    host.commands_file.with_name("arm.load").write_text(str(newtons))


def record(host: HostBench) -> dict[str, object]:
    found = host.store.find_ids("interlocks", ["heavy"])
    return found[0] if found else {}


@pytest.fixture
def lab(tmp_path: Path, mongo_url: str, redis_url: str, request: pytest.FixtureRequest) -> Iterator[HostBench]:
    does = getattr(request, "param", "block")
    covers = INTERLOCKS.format(does=does)
    if does == "estop":
        covers = covers.replace('["arm"]', '["bench"]')
    with bench_of(tmp_path, mongo_url, redis_url, covers) as host:
        yield host


def test_it_trips_clears_and_remembers_both_across_a_restart(lab: HostBench) -> None:
    set_load(lab, 12)
    wait_for(lambda: record(lab).get("tripped") is True)
    assert record(lab)["value"] == 12
    set_load(lab, 7)
    lab.kill()
    lab.start()
    assert record(lab)["tripped"] is True, "between the thresholds it stays as it was"
    set_load(lab, 5)
    wait_for(lambda: record(lab).get("tripped") is False)
    serials = [r["serial"] for r in lab.store.find("interlock_log", {"interlock": "heavy"}, sort=[("serial", 1)])]
    assert len(serials) == 2
    assert serials[1] == record(lab)["serial"]


def test_nothing_begins_while_the_last_reading_forbids_it(lab: HostBench) -> None:
    set_load(lab, 12)
    wait_for(lambda: record(lab).get("tripped") is True)
    refused = lab.run(lab.order("moves", {"count": 1}))
    assert (refused["state"], refused["touched"], refused["started_lab_s"]) == ("failed", False, None)
    assert "interlock heavy is tripped: arm.load_n is 12" in refused["error"]
    assert lab.commands() == []
    set_load(lab, 1)
    wait_for(lambda: record(lab).get("tripped") is False)
    assert lab.run(lab.order("moves", {"count": 1}))["state"] == "completed"


@pytest.mark.parametrize(("lab", "state"), [("abort", "aborted"), ("estop", "interrupted")], indirect=["lab"])
def test_what_runs_on_what_it_covers_ends_at_once(lab: HostBench, state: str) -> None:
    attempt_id = lab.send(lab.order("moves", {"count": 1000, "real_s": 0.1}))
    wait_for(lab.commands)
    set_load(lab, 12)
    closed = lab.closed(attempt_id)
    assert closed["state"] == state
    assert "interlock heavy" in closed["reason"]
    if state == "interrupted":
        latch = wait_for(lambda: lab.store.find_ids("latches", ["bench"]))[0]
        assert (latch["tripped"], latch["actor"]) == (True, "interlock heavy")
        assert lab.run(lab.order("moves", {"count": 1}))["emergency"] is True


@pytest.mark.parametrize("lab", ["pause"], indirect=True)
def test_what_runs_on_what_it_covers_is_paused(lab: HostBench) -> None:
    attempt_id = lab.send(lab.order("moves", {"count": 1000, "real_s": 0.05}))
    wait_for(lab.commands)
    set_load(lab, 12)
    wait_for(lambda: (lab.attempt(attempt_id) or {}).get("paused") is True)
    lab.control(attempt_id, "abort")
    lab.closed(attempt_id)


VALUES = st.lists(st.tuples(st.floats(-20, 20) | st.none(), st.floats(0, 3)), max_size=40)


@given(readings=VALUES, rule=st.sampled_from(["ceiling", "floor", "band"]), dwell_s=st.sampled_from([0.0, 2.0]))
def test_it_trips_only_beyond_and_clears_only_behind_its_thresholds(
    readings: list[tuple[float | None, float]], rule: str, dwell_s: float
) -> None:
    thresholds = {
        "ceiling": {"trip": 10.0, "clear": 5.0},
        "floor": {"trip": -10.0, "clear": -5.0},
        "band": {"trip": (-10.0, 10.0), "clear": (-5.0, 5.0)},
    }[rule]
    judge = Judge(section(rule=rule, dwell_s=dwell_s, **thresholds))
    beyond = {"ceiling": lambda v: v > 10, "floor": lambda v: v < -10, "band": lambda v: abs(v) > 10}[rule]
    behind = {"ceiling": lambda v: v <= 5, "floor": lambda v: v >= -5, "band": lambda v: abs(v) <= 5}[rule]
    now_s, since_s = 0.0, None
    for value, passed_s in readings:
        now_s += passed_s
        since_s = (now_s if since_s is None else since_s) if value is not None and beyond(value) else None
        before, changed = judge.tripped, judge.look(value, now_s)
        assert changed == (judge.tripped != before)
        if changed and judge.tripped:
            assert since_s is not None
            assert now_s - since_s >= dwell_s
        elif changed:
            assert value is not None
            assert behind(value)
        elif not before and since_s is not None:
            assert now_s - since_s < dwell_s


def test_a_reading_that_is_missing_trips_if_it_is_to_and_never_clears() -> None:
    assert not Judge(section()).look(None, 0)
    judge = Judge(section(missing="trip"))
    assert judge.look(float("nan"), 0)
    assert not judge.look(None, 1)
    assert judge.look(1.0, 2)


def test_equals_is_for_states_too() -> None:
    judge = Judge(section(reading="arm.state", rule="equals", trip="unhomed", clear=None))
    assert not judge.look("idle", 0)
    assert judge.look("unhomed", 1)
    assert judge.look("idle", 2)


@pytest.mark.parametrize(
    "fields",
    [
        {"clear": 11.0},
        {"rule": "floor", "trip": 1.0, "clear": 0.5},
        {"rule": "band"},
        {"rule": "band", "trip": (0.0, 1.0), "clear": (-1.0, 1.0)},
        {"rule": "equals", "trip": 1.0, "clear": 0.0},
        {"covers": ()},
        {"reading": "arm"},
        {"does": "shout"},
    ],
)
def test_nonsense_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        section(**fields)


@pytest.mark.parametrize(
    ("fields", "why"),
    [({"reading": "leg.x"}, "leg"), ({"covers": ("leg",)}, "leg"), ({"does": "estop"}, "module")],
)
def test_the_lab_file_knows_what_it_reads_and_covers(fields: dict[str, object], why: str) -> None:
    arm = {"id": "arm", "driver": "a:B", "address": "sim://arm"}
    with pytest.raises(ValidationError, match=why):
        Lab.model_validate(
            {
                "name": "lab",
                "modules": {"bench": {"package": "tests.bench"}},
                "devices": [arm],
                "interlocks": [section(**fields).model_dump()],
            }
        )
