"""From a job to samples, tasks and steps."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octolab.ids import derived_id, new_id
from scheduler.generator import Expansion, StepRow, generate, settle
from scheduler.jobformat import parse
from tests.jobs.lab import catalogue, example

JOB = UUID("019a0000-0000-7000-8000-000000000001")


def expanded(document: Any, lab: str = "virtual", job_id: UUID = JOB) -> Expansion:
    return generate(parse(document), catalogue(lab), job_id)


def job(*workflow: Any, **more: Any) -> dict[str, Any]:
    return {"name": "x", "workflow": list(workflow), **more}


def occupy(**more: Any) -> dict[str, Any]:
    return {"task": "virtual.occupy", "with": {"time": "1 s", **more.pop("with_", {})}, **more}


def steps_of(expansion: Expansion, key: str) -> list[StepRow]:
    return [step for step in expansion.steps if step.task.key == key]


@pytest.fixture(scope="module")
def demo() -> Expansion:
    return expanded(example("silver-nanoparticles"), "silver")


# --- determinism and ids


@pytest.mark.parametrize(("lab", "name"), [("silver", "silver-nanoparticles"), ("virtual", "virtual")])
def test_the_same_job_gives_the_same_rows(lab: str, name: str) -> None:
    assert asdict(expanded(example(name), lab)) == asdict(expanded(example(name), lab))


def test_another_job_shares_no_id(demo: Expansion) -> None:
    other = expanded(example("silver-nanoparticles"), "silver", new_id())
    ids = [{row.id for rows in (e.samples, e.tasks, e.steps) for row in rows} for e in (demo, other)]
    assert len(ids[0]) == len(demo.samples) + len(demo.tasks) + len(demo.steps)
    assert not ids[0] & ids[1]


@given(st.uuids(version=4), st.text())
def test_derived_ids_are_uuid7_with_the_parents_time(parent: UUID, path: str) -> None:
    found = derived_id(parent, path)
    assert (found.version, found.variant) == (7, "specified in RFC 4122")
    assert found.int >> 80 == parent.int >> 80
    assert found == derived_id(parent, path)


def test_a_shuffle_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    def order(seed: int) -> list[Any]:
        sweep = {"sweep": {"n": {"from": 1, "to": 20, "step": 1}}, "shuffle": seed}
        return [s.parameters["n"] for s in expanded(job(occupy(), samples=sweep)).samples]

    assert order(3) == order(3) != order(4)
    assert sorted(order(3)) == list(range(1, 21))


# --- the demo job


def test_the_demo_is_the_published_recipe(demo: Expansion) -> None:
    assert len(demo.samples) == 6
    silver = [s.adds["volume_ul"] for s in demo.steps if s.adds and s.adds["solution"] == "AgNO3"]
    assert silver == [100.0, 320.0, 540.0, 760.0, 980.0, 1200.0]
    first = [(s.task.module, s.task.task, s.name) for s in demo.steps if demo.samples[0] in s.task.samples][:14]
    assert first == [
        ("batch_synthesis", "prepare", "load"),
        ("batch_synthesis", "add", "add"),
        ("batch_synthesis", "add", "add"),
        ("batch_synthesis", "add", "add"),
        ("batch_synthesis", "stir", "set"),
        ("batch_synthesis", "heat", "set"),
        ("batch_synthesis", "mix", "dwell"),
        ("batch_synthesis", "add", "add"),
        ("batch_synthesis", "react", "dwell"),
        ("batch_synthesis", "react", "unload"),
        ("uv_vis", "measure", "prepare"),
        ("uv_vis", "measure", "measure"),
        ("uv_vis", "measure", "store"),
        ("uv_vis", "store", "store"),
    ]
    assert demo.consumption() == pytest.approx(
        {"vials": 6, "tips": 6, "citrate": 7.2, "h2o2": 7.2, "nabh4": 18.0, "agno3": 3.9}
    )


def test_every_step_has_its_place_and_its_predecessors(demo: Expansion) -> None:
    assert [step.index for step in demo.steps] == list(range(len(demo.steps)))
    known = {str(step.id): step for step in demo.steps}
    for step in demo.steps:
        for need in step.needs:
            assert known[need["step"]].index < step.index
            assert set(need) == {"step", "min_s", "max_s", "on_breach"}
    assert {step.name for step in demo.steps if not step.needs and not step.dormant} == {"actuator"}


def test_places_are_taken_before_others_are_freed_and_only_storage_stays(demo: Expansion) -> None:
    held: dict[UUID, list[str]] = defaultdict(list)
    for step in demo.steps:
        if step.dormant:
            continue
        for sample in step.task.samples:
            assert not set(step.takes) & set(held[sample.id])
            held[sample.id] += step.takes
            for place in step.frees:
                held[sample.id].remove(place)
            assert held[sample.id], "a vial must always stand somewhere"
    assert list(held.values()) == [["vial_storage"]] * 6


def test_stirring_and_heat_are_held_until_the_vial_leaves_the_stirrer(demo: Expansion) -> None:
    both = {"stirrer.speed_rpm": 1000.0, "stirrer.temperature_c": 25.0}
    for key, settings in [("mix", both), ("react", both), ("stir", {"stirrer.speed_rpm": 1000.0}), ("spectrum", {})]:
        for step in steps_of(demo, key):
            assert step.settings == settings


def test_windows_and_blocks(demo: Expansion) -> None:
    dwell, unload = steps_of(demo, "react")[:2]
    assert (dwell.action, dwell.devices, dwell.duration_s) == (None, {}, 7200.0)
    assert unload.needs == [{"step": str(dwell.id), "min_s": 0.0, "max_s": 600.0, "on_breach": "flag"}]
    assert unload.block == unload.id
    cuvette = steps_of(demo, "spectrum")[:3]
    assert {step.block for step in cuvette} == {cuvette[0].id}
    assert [step.needs[0]["max_s"] for step in cuvette[1:]] == [0.0, 0.0]


def test_each_working_place_has_a_dormant_way_out(demo: Expansion) -> None:
    dormant = [step for step in demo.steps if step.dormant]
    assert demo.steps_total == len(demo.steps) - len(dormant)
    for sample in demo.samples:
        freed = {place for step in dormant if sample in step.task.samples for place in step.frees}
        taken = {p for step in demo.steps if sample in step.task.samples for p in step.takes}
        assert freed == taken - {"vial_storage"}
    assert all(step.task.cleanup and not step.needs for step in dormant)


# --- the shape of workflows


def test_whoever_stands_somewhere_is_stored_at_the_end() -> None:
    expansion = expanded(job({"task": "batch_synthesis.prepare"}, samples=2), "silver")
    ends = steps_of(expansion, "end_park")
    assert [step.frees for step in ends] == [["batch_synthesis.vial_slot"]] * 2
    for load, end in zip(steps_of(expansion, "prepare"), ends, strict=True):
        assert [need["step"] for need in end.needs] == [str(load.id)]
        assert end.index == load.index + 1


def test_a_job_without_samples_has_none() -> None:
    expansion = expanded(job({"task": "virtual.noop"}))
    assert (expansion.samples, len(expansion.tasks), len(expansion.steps)) == ([], 1, 1)
    assert expansion.modules == ("virtual",)


def test_a_task_of_no_sample_is_done_once_and_everybody_waits_for_it() -> None:
    expansion = expanded(job(occupy(id="a"), {"task": "virtual.noop"}, occupy(id="b"), samples=3))
    (noop,) = steps_of(expansion, "noop")
    assert {need["step"] for need in noop.needs} == {str(step.id) for step in steps_of(expansion, "a")}
    assert all([need["step"] for need in step.needs] == [str(noop.id)] for step in steps_of(expansion, "b"))


def test_branches_and_delays() -> None:
    workflow = [
        occupy(id="a"),
        occupy(id="b", needs=["a"], after="2 s", within="1 min", on_breach="fail"),
        occupy(id="c", needs=["a"], within={"a": 5}),
        occupy(id="d", needs=["b", "c"], after={"c": "3 s", "a": "1 h"}),
    ]
    expansion = expanded(job(*workflow))
    (a,), (b,), (c,), (d,) = (steps_of(expansion, key) for key in "abcd")
    assert b.needs == [{"step": str(a.id), "min_s": 2.0, "max_s": 60.0, "on_breach": "fail"}]
    assert c.needs == [{"step": str(a.id), "min_s": 0.0, "max_s": 5.0, "on_breach": "flag"}]
    assert [(need["step"], need["min_s"]) for need in d.needs] == [
        (str(b.id), 0.0),
        (str(c.id), 3.0),
        (str(a.id), 3600.0),
    ]


def test_tasks_may_stand_in_any_order() -> None:
    expansion = expanded(job(occupy(id="late", needs=["early"]), occupy(id="early", needs=[])))
    assert [step.task.key for step in expansion.steps] == ["early", "late"]


def test_steps_that_are_left_out_hand_on_what_they_waited_for() -> None:
    workflow = [occupy(id="a"), occupy(id="b", with_={"slot": True, "standby": 7}), occupy(id="c")]
    expansion = expanded(job(*workflow))
    assert [step.name for step in steps_of(expansion, "a")] == ["work"]
    names = [(step.name, step.takes, step.frees) for step in steps_of(expansion, "b")]
    assert names == [
        ("enter", ["virtual.slot"], []),
        ("work", [], []),
        ("rest", [], []),
        ("leave", [], ["virtual.slot"]),
    ]
    assert [need["step"] for need in steps_of(expansion, "c")[0].needs] == [str(steps_of(expansion, "b")[-1].id)]


def test_chosen_devices_are_masked() -> None:
    (step,) = expanded(job(occupy(with_={"devices": ["virtual_2", "$other"]}), parameters={"other": "virtual_4"})).steps
    assert step.devices == {"virtual_2": "use", "virtual_4": "use"}


def test_names_of_tasks_and_samples() -> None:
    expansion = expanded(job(occupy(), occupy(id="occupy_2"), occupy(), samples=[{"name": "left"}, {"with": {"a": 5}}]))
    assert [task.key for task in expansion.tasks][:3] == ["occupy", "occupy_2", "occupy_3"]
    assert [sample.name for sample in expansion.samples] == ["left", "a 5"]


@pytest.mark.parametrize(
    ("axis", "values"),
    [
        ({"from": "100 µL", "to": "1.2 mL", "count": 3}, ["100 µL", "650 µL", "1200 µL"]),
        ({"from": 0, "to": 1, "step": 0.1}, [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]),
        (
            {"from": "1 min", "to": "0 min", "step": "-20 s"},
            ["1 min", "0.666666666667 min", "0.333333333333 min", "0 min"],
        ),
        ({"from": 1, "to": 100, "count": 3, "spacing": "log"}, [1, 10, 100]),
        ({"from": 5, "to": 9, "count": 1}, [5]),
        (["a", "b"], ["a", "b"]),
    ],
)
def test_axes(axis: Any, values: list[Any]) -> None:
    expansion = expanded(job(occupy(), samples={"sweep": {"v": axis}}))
    assert [sample.parameters["v"] for sample in expansion.samples] == values


def test_products_zips_and_repeats() -> None:
    def samples(**more: Any) -> list[tuple[Any, ...]]:
        sweep = {"sweep": {"a": [1, 2], "b": ["x", "y"]}, **more}
        return [tuple(s.parameters.values()) for s in expanded(job(occupy(), samples=sweep)).samples]

    assert samples() == [(1, "x"), (1, "y"), (2, "x"), (2, "y")]
    assert samples(combine="zip") == [(1, "x"), (2, "y")]
    assert samples(combine="zip", repeat=2) == [(1, "x"), (1, "x"), (2, "y"), (2, "y")]


def test_a_samples_parameter_hides_the_jobs() -> None:
    document = job(
        occupy(with_={"time": "$t"}), parameters={"t": "$base", "base": "1 min"}, samples=[{}, {"with": {"t": "2 s"}}]
    )
    assert [step.duration_s for step in expanded(document).steps] == [60.0, 2.0]


def test_escaped_dollars_are_plain_text() -> None:
    from scheduler.generator.offers import Parameter

    expansion = expanded(
        job({"task": "virtual.noop", "with": {"value": "$$5"}}) | {"workflow": [{"task": "virtual.noop"}]}
    )
    assert expansion.tasks[0].parameters == {"value": 0}
    assert Parameter("text", {"type": "string"}, True).accept("$5") == "$5"


# --- values that are known later


def test_references_stand_until_the_step_is_due() -> None:
    workflow = [
        occupy(id="first"),
        {"task": "virtual.wait", "with": {"time": "$first.seconds"}},
    ]
    expansion = expanded(job(*workflow))
    wait = steps_of(expansion, "wait")[0]
    assert wait.task.parameters == {"time": {"ref": "first.seconds"}}
    assert wait.duration_s == 0.0
    settled = settle(catalogue("virtual"), "virtual.wait", "rest", wait.task.parameters, {"first": {"seconds": 42.5}})
    assert (settled.parameters, settled.duration_s, settled.problems) == ({"time": 42.5}, 42.5, ())


def test_later_values_are_reserved_at_their_most_and_settled_at_what_they_are() -> None:
    spectrum = {"id": "spectrum", "task": "uv_vis.measure"}
    add = {"solution": "Citrate", "volume": "$add.delivered"}
    workflow = [
        {"task": "batch_synthesis.prepare"},
        {"task": "batch_synthesis.add", "with": {"solution": "Citrate", "volume": "1 mL"}},
        {"id": "again", "task": "batch_synthesis.add", "with": add},
        {"task": "batch_synthesis.react", "with": {"time": 0}},
        spectrum,
    ]
    expansion = expanded(job(*workflow), "silver")
    (again,) = steps_of(expansion, "again")
    assert again.consumes == {"citrate": 5.0}
    settled = settle(
        catalogue("silver"), "batch_synthesis.add", "add", again.task.parameters, {"add": {"delivered": 500.0}}
    )
    assert settled.consumes == {"citrate": 0.5}
    assert settled.adds == {"solution": "Citrate", "volume_ul": 500.0, "stock": "citrate"}
    too_much = settle(
        catalogue("silver"), "batch_synthesis.add", "add", again.task.parameters, {"add": {"delivered": 9000.0}}
    )
    assert too_much.problems == ("volume: 9000 µL is too much: 10 µL to 5000 µL is possible.",)
    missing = settle(catalogue("silver"), "batch_synthesis.add", "add", again.task.parameters, {})
    assert missing.problems == ("volume: `add.delivered` was not measured.",)


def test_results_in_another_unit_are_converted() -> None:
    from modules.contract.manifest import Result
    from scheduler.catalogue import Catalogue

    known = catalogue("virtual")
    tasks = tuple(
        task.model_copy(update={"results": (Result(name="seconds", unit="min"),)}) if task.name == "occupy" else task
        for task in known.manifests["virtual"].tasks
    )
    changed = Catalogue(known.lab, {"virtual": known.manifests["virtual"].model_copy(update={"tasks": tasks})})
    document = job(occupy(id="a"), {"task": "virtual.wait", "with": {"time": "$a.seconds"}})
    expansion = generate(parse(document), changed, JOB)
    reference = expansion.tasks[1].parameters["time"]
    assert reference == {"ref": "a.seconds", "factor": pytest.approx(60.0), "offset": 0.0}
    settled = settle(changed, "virtual.wait", "rest", {"time": reference}, {"a": {"seconds": 2.0}})
    assert settled.duration_s == pytest.approx(120.0)
