"""The complete check: each impossibility is refused with its path and a sentence that tells what would be right."""

# ruff: noqa: E501 - sentences are quoted whole

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octolab.ids import new_id
from scheduler.generator import generate
from scheduler.jobformat import JobRefused, Problem, parse
from tests.jobs.lab import catalogue, messages

MADE: list[Any] = [{"task": "batch_synthesis.prepare"}]
ADD: dict[str, Any] = {"task": "batch_synthesis.add", "with": {"solution": "Citrate", "volume": "1 mL"}}


def refused(workflow: list[Any], lab: str = "silver", **more: Any) -> dict[str, str]:
    document = parse({"name": "x", "workflow": workflow, **more})
    with pytest.raises(JobRefused) as error:
        generate(document, catalogue(lab), new_id())
    return messages(error.value.problems)


def add(**parameters: Any) -> dict[str, Any]:
    return {"task": "batch_synthesis.add", "with": {"solution": "Citrate", "volume": "1 mL", **parameters}}


# --- modules and tasks


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        ("batch_sinthesis.add", "The lab has no module `batch_sinthesis`. Did you mean `batch_synthesis`?"),
        ("furnace.bake", "The lab has no module `furnace`. The module can be `batch_synthesis`, `uv_vis` or `people`."),
        ("batch_synthesis.ad", "The module `batch_synthesis` has no task `ad`. Did you mean `add`?"),
        ("measure", "A task is written as `module.task`. Did you mean `uv_vis.measure`?"),
        ("bake", "A task is written as `module.task`. The lab's modules are `batch_synthesis`, `uv_vis` or `people`."),
    ],
)
def test_unknown_tasks(task: str, sentence: str) -> None:
    assert refused([{"task": task}]) == {"/workflow/0/task": sentence}


def test_a_module_whose_host_has_never_run() -> None:
    from scheduler.catalogue import Catalogue, LabNotReady

    known = catalogue("silver")
    half = Catalogue(known.lab, {"uv_vis": known.manifests["uv_vis"]})
    with pytest.raises(LabNotReady, match="`batch_synthesis` has not told yet what it offers: its host `host`"):
        generate(parse({"name": "x", "workflow": MADE}), half, new_id())


# --- parameters


@pytest.mark.parametrize(
    ("parameters", "path", "sentence"),
    [
        ({"volume": "6 mL"}, "volume", "6000 µL is too much: 10 µL to 5000 µL is possible."),
        ({"volume": "1 µL"}, "volume", "1 µL is too little: 10 µL to 5000 µL is possible."),
        ({"volume": "1 min"}, "volume", "`min` does not fit: this takes a unit such as in `1200 µL`."),
        ({"volume": "1 mLL"}, "volume", "the unit `mLL` is unknown; write it like `1200 µL`."),
        ({"volume": "some"}, "volume", "`some` is not a quantity; write it like `1200 µL`."),
        ({"volume": True}, "volume", "This must be a number with a unit, such as `1200 µL`."),
        ({"volume": [1]}, "volume", "This must be a number with a unit, such as `1200 µL`."),
        ({"volume": None}, "volume", "This must be a number with a unit, such as `1200 µL`."),
        ({"solution": "Citrat"}, "solution", "There is no `Citrat` here. Did you mean `Citrate`?"),
        ({"solution": 5}, "solution", "This must be a text: `Citrate`, `H2O2`, `NaBH4` or `AgNO3`."),
        ({"vol": 5}, "vol", "`batch_synthesis.add` has no parameter `vol`. Did you mean `volume`?"),
        ({"concentration": "0 mM"}, "concentration", "0 mM is too little: more than 0 mM is possible."),
        ({"concentration": "30 mM"}, "concentration", "The lab's Citrate is 20 mM, not 30 mM. Use what is there, or ask an operator for another stock."),
        ({"volume": "$$5"}, "volume", "`$5` is not a quantity; write it like `1200 µL`."),
        ({"volume": "$"}, "volume", "`$` is no reference. Write `$name`, or `$$` for a text with `$`."),
        ({"volume": "$v"}, "volume", "There is no parameter `v`. The job and its samples have no parameters."),
    ],
)  # fmt: skip
def test_parameters(parameters: dict[str, Any], path: str, sentence: str) -> None:
    assert refused([*MADE, add(**parameters)]) == {f"/workflow/1/with/{path}": sentence}


def test_the_same_concentration_in_another_unit_is_the_same() -> None:
    document = parse({"name": "x", "workflow": [*MADE, add(concentration="20000 µmol/L")]})
    assert generate(document, catalogue("silver"), new_id()).tasks[1].parameters["concentration"] == 20.0


def test_a_missing_parameter_is_named_with_its_meaning() -> None:
    workflow = [
        *MADE,
        {"task": "batch_synthesis.add", "with": {"solution": "Citrate"}},
        {"task": "batch_synthesis.stir"},
    ]
    assert refused(workflow) == {
        "/workflow/1/with": "`batch_synthesis.add` needs the parameter `volume`. How much of it.",
        "/workflow/2/with": "`batch_synthesis.stir` needs the parameter `speed`. Stirring speed.",
    }


def test_cross_checks_of_the_manifest() -> None:
    workflow = [
        {"task": "uv_vis.fetch"},
        {"task": "uv_vis.measure", "with": {"wavelength_start": "800 nm", "wavelength_stop": "0.4 µm"}},
    ]
    samples = [{"from": {"position": "vial_storage.1.1"}}]
    assert refused(workflow, samples=samples) == {
        "/workflow/1/with": "Wavelength_stop must be longer than wavelength_start."
    }


def test_a_sweep_that_leaves_the_range_names_the_value() -> None:
    problems = refused(
        [*MADE, add(volume="$v")], samples={"sweep": {"v": {"from": "4 mL", "to": "6 mL", "step": "1 mL"}}}
    )
    assert problems == {
        "/workflow/1/with/volume": "$v is `6 mL` here. 6000 µL is too much: 10 µL to 5000 µL is possible."
    }


@pytest.mark.parametrize(
    ("axis", "sentence"),
    [
        ({"from": "1 mL", "to": "2 min", "count": 3}, "`min` does not fit: this takes a unit such as in `1.2 mL`."),
        (
            {"from": "1 mL", "to": 2, "count": 3},
            "`from` and `to` need the same kind of unit, such as `1 mL` and `2 mL`.",
        ),
        ({"from": 1, "to": 2}, "give either `count` or `step`."),
        ({"from": 1, "to": 2, "count": 2, "step": 1}, "give either `count` or `step`."),
        ({"from": 1, "to": 2, "step": -1}, "`step` must lead from `from` to `to`; is its sign right?"),
        ({"from": 1, "to": 2, "step": 0}, "`step` must lead from `from` to `to`; is its sign right?"),
        ({"from": 0, "to": 1, "step": 0.001}, "this range has more than 500 values."),
        (
            {"from": 0, "to": 1, "count": 3, "spacing": "log"},
            "with `spacing: log` both ends must be greater than zero.",
        ),
        ({"from": "much", "to": 1, "count": 3}, "`much` is not a quantity; write it like `100 µL`."),
    ],
)
def test_ranges(axis: dict[str, Any], sentence: str) -> None:
    problems = refused([*MADE, add(volume="$v")], samples={"sweep": {"v": axis}})
    assert problems["/samples/sweep/v"] == sentence


def test_a_zip_of_unequal_lengths_and_too_many_samples() -> None:
    sweep = {"a": [1, 2], "b": [1, 2, 3]}
    assert refused(MADE, samples={"sweep": sweep, "combine": "zip"}) == {
        "/samples/sweep": "With `combine: zip` all need equally many values, but `a` has 2, `b` has 3."
    }
    many = {"a": list(range(30)), "b": list(range(30))}
    assert refused(MADE, samples={"sweep": many}) == {
        "/samples": "This makes 900 samples; a job has at most 500. Split it."
    }


# --- parameters that nothing uses


@pytest.mark.parametrize(
    ("samples", "path", "sentence"),
    [
        ({"sweep": {"agno": ["1 mL", "2 mL"]}}, "/samples/sweep/agno", "Nothing uses `agno`, but the workflow refers to `$agno3`. Did you mean that? Use one name."),
        ({"sweep": {"agno3": ["1 mL"], "Volume": [1, 2]}}, "/samples/sweep/Volume", "Nothing uses `Volume`. If it is meant for the parameter `volume` of a task, write `volume: $Volume` in the task's `with`."),
        ([{}, {"with": {"agnoo3": "2 mL"}}, {"with": {"agnoo3": 5}}], "/samples/1/with/agnoo3", "Nothing uses `agnoo3`, but the workflow refers to `$agno3`. Did you mean that? Use one name."),
    ],
)  # fmt: skip
def test_a_name_that_nothing_uses_and_that_is_nearly_another(samples: Any, path: str, sentence: str) -> None:
    problems = refused([*MADE, add(volume="$agno3")], samples=samples, parameters={"agno3": "1 mL"})
    assert problems == {path: sentence}


# --- references


def occupy(**more: Any) -> dict[str, Any]:
    parameters = {"time": "1 s", **more.pop("with_", {})}
    return {"task": "virtual.occupy", "with": parameters, **more}


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("$durration", "There is no parameter `durration`. Did you mean `duration`?"),
        ("$loop", "The parameter `loop` refers to itself."),
        ("$nobody.seconds", "There is no task `nobody` in this workflow. It can be `one` or `three`."),
        ("$one.second", "`virtual.occupy` has no result `second`. Did you mean `seconds`?"),
        ("$three.seconds", "`three` is not certainly done before this task; add it to `needs`."),
        ("$two.seconds", "`two` is not certainly done before this task; add it to `needs`."),
    ],
)
def test_references_that_lead_nowhere(value: str, sentence: str) -> None:
    workflow = [occupy(id="one"), occupy(id="two", with_={"time": value}), occupy(id="three")]
    problems = refused(workflow, "virtual", parameters={"duration": "1 s", "loop": "$pool", "pool": "$loop"})
    assert problems == {"/workflow/1/with/time": sentence}


def test_lists_of_lists_cannot_explode() -> None:
    parameters: dict[str, Any] = {f"p{n}": [f"$p{n + 1}"] * 100 for n in range(30)}
    problems = refused([occupy(with_={"devices": "$p0"})], "virtual", parameters={**parameters, "p30": "virtual_1"})
    assert problems["/workflow/0/with/devices/0"] == "The parameter `p1` is a list, which cannot stand here."


def test_references_of_the_wrong_kind() -> None:
    one = occupy(id="one")
    assert refused([one, occupy(with_={"overrun": "$one.seconds"})], "virtual") == {
        "/workflow/1/with/overrun": "`seconds` is in `s`, but `overrun` takes `plain numbers`."
    }
    assert refused([one, occupy(with_={"fail": "$one.seconds"})], "virtual") == {
        "/workflow/1/with/fail": "`seconds` is a number, but `fail` is a boolean."
    }
    assert refused([one, occupy(with_={"standby": "$one.seconds"})], "virtual") == {
        "/workflow/1/with/standby": "`standby` decides what the task needs; it must be known from the start."
    }
    spectrum: list[Any] = [{"task": "uv_vis.fetch"}, {"task": "uv_vis.measure"}, {"task": "uv_vis.measure"}]
    spectrum[2]["with"] = {"volume": "$measure.absorbance"}
    assert refused(spectrum, samples=[{"from": {"position": "vial_storage.1.1"}}]) == {
        "/workflow/2/with/volume": "`absorbance` is an array; only single values can be referred to."
    }


# --- order and delays


@pytest.mark.parametrize(
    ("change", "path", "sentence"),
    [
        ({"needs": ["on"]}, "/workflow/1/needs", "There is no task `on` in this workflow. Did you mean `one`?"),
        ({"needs": ["two"]}, "/workflow/1/needs", "A task cannot wait for itself."),
        ({"id": "one"}, "/workflow/1/id", "The id `one` is taken by task 1; give this one another."),
        ({"after": "1 kg"}, "/workflow/1/after", "`kg` does not fit: this takes a unit such as in `5 min`."),
        ({"after": "-1 s"}, "/workflow/1/after", "A time between tasks is at least 0 s and at most 366 days."),
        ({"after": {"on": 1}}, "/workflow/1/after", "There is no task `on` in this workflow. Did you mean `one`?"),
        ({"after": {"one": "x"}}, "/workflow/1/after/one", "`x` is not a quantity; write it like `5 min`."),
        ({"after": "2 min", "within": "1 min"}, "/workflow/1/within", "`within` (60 s) must not be shorter than `after` (120 s)."),
        ({"needs": [], "within": 5}, "/workflow/1/within", "`within` counts from the end of the tasks before, but this one waits for none."),
        ({"needs": ["three"]}, "/workflow/1/needs", "These tasks wait for each other in a circle: `two` → `three` → `two`."),
    ],
)  # fmt: skip
def test_order(change: dict[str, Any], path: str, sentence: str) -> None:
    workflow = [occupy(id="one"), {**occupy(id="two"), **change}, occupy(id="three")]
    assert refused(workflow, "virtual") == {path: sentence}


# --- where the sample stands


def test_there_is_no_sample_yet() -> None:
    assert refused([ADD]) == {
        "/workflow/0": "`batch_synthesis.add` takes the sample from `batch_synthesis.vial_slot`, but it "
        "does not exist yet. Put `batch_synthesis.prepare` before it."
    }


def test_what_would_bring_the_sample_is_named_though_it_takes_two_tasks() -> None:
    told = refused([{"task": "uv_vis.measure"}])["/workflow/0"]
    assert told.startswith("`uv_vis.measure` takes the sample from `vial_holder`, but it does not exist yet. Put ")
    assert "`batch_synthesis.prepare` and later `batch_synthesis.react` before it" in told
    assert "`uv_vis.fetch` before it, and say in `samples` where the sample stands (`from`)" in told


def test_the_sample_stands_elsewhere() -> None:
    workflow = [*MADE, ADD, {"task": "uv_vis.measure"}]
    assert refused(workflow) == {
        "/workflow/2": "`uv_vis.measure` takes the sample from `vial_holder`, but it stands in "
        "`batch_synthesis.vial_slot` then. Put `batch_synthesis.react` before it."
    }
    stored = [{"from": {"position": "vial_storage.2.7"}}]
    assert refused([{"task": "uv_vis.measure"}], samples=stored) == {
        "/workflow/0": "`uv_vis.measure` takes the sample from `vial_holder`, but it stands in "
        "`vial_storage` then. Put `uv_vis.fetch` before it."
    }


def test_one_mistake_is_told_once_however_many_samples_and_tasks_follow() -> None:
    assert (
        len(refused([ADD, ADD, {"task": "batch_synthesis.react", "with": {"time": 5}}], samples=[{"name": "a"}])) == 1
    )


def test_a_sample_is_made_once() -> None:
    assert refused([*MADE, *MADE]) == {
        "/workflow/1": "`batch_synthesis.prepare` makes a fresh sample, but there is one already."
    }


def test_places_to_load() -> None:
    workflow = [{"task": "uv_vis.fetch"}]
    assert refused(workflow, samples=[{"from": {"position": "vial_storage.7.1"}}]) == {
        "/samples/0/from/position": "There is no place `vial_storage.7.1`. Places for samples are `vial_storage.1.1` to "
        "`vial_storage.6.10`."
    }
    twice = [{"from": {"position": "vial_storage.1.1"}}, {"from": {"position": "vial_storage.1.1"}}]
    assert refused(workflow, samples=twice) == {
        "/samples/1/from": "Sample 1 of this job is the same; take another one."
    }


def test_tasks_that_move_the_sample_have_an_order() -> None:
    workflow = [
        *MADE,
        {"id": "react", "task": "batch_synthesis.react", "with": {"time": 5}},
        {**ADD, "id": "late", "needs": ["prepare"]},
    ]
    assert refused(workflow)["/workflow/2/needs"] == (
        "`late` and `react` could be done at the same time, but one of them moves the sample. Say in `needs` which comes "
        "first."
    )


# --- what can never fit


def test_a_vial_that_would_overflow() -> None:
    workflow = [*MADE, add(volume="5 mL"), add(volume="5 mL"), add(volume="$more")]
    problems = refused(workflow, parameters={"more": "10 µL"})
    assert problems == {
        "/workflow/3": "Sample `sample 1` would hold 10010 µL after this, but its vessel takes 10000 µL. Add less."
    }


def test_more_samples_than_the_storage_has_places() -> None:
    assert refused(MADE, samples=61) == {
        "/samples": "61 samples would hold a place of `vial_storage` at the same time at the end, but there are 60. Use "
        "at most 60 samples."
    }


def test_samples_that_wait_for_each_other_in_too_few_places() -> None:
    workflow = [{"task": "virtual.enter"}, {"task": "virtual.noop", "id": "together"}, {"task": "virtual.leave"}]
    assert refused(workflow, "virtual", samples=9) == {
        "/workflow/1": "9 samples would hold a place of `virtual.slot` at the same time at `together`, which is done once "
        "for all samples, but there are 8. Use at most 8 samples."
    }
    document = parse({"name": "x", "workflow": [workflow[0], workflow[2]], "samples": 9})
    assert len(generate(document, catalogue("virtual"), new_id()).samples) == 9


def test_samples_that_wait_for_each_other_at_different_temperatures() -> None:
    workflow = [
        *MADE,
        {"task": "batch_synthesis.heat", "with": {"temperature": "$t"}},
        {"task": "batch_synthesis.home", "id": "together"},
        {"task": "batch_synthesis.mix", "with": {"time": 5}},
    ]
    assert refused(workflow, samples={"sweep": {"t": ["30 °C", "40 °C"]}}) == {
        "/workflow/2": "All samples wait for each other at `together`, which is done once for all samples, but they hold "
        "`stirrer.temperature_c` at different values (30, 40)."
    }


def test_samples_for_nobody_and_too_many_steps() -> None:
    assert refused([{"task": "virtual.noop"}], "virtual", samples=2) == {
        "/samples": "No task of the workflow takes a sample; leave `samples` out."
    }
    problems = refused([occupy() for _ in range(100)], "virtual", samples=500)
    assert problems == {
        "/workflow": "The job has more than 20000 steps; split it into several jobs with fewer samples."
    }


def test_what_the_lab_file_left_out() -> None:
    from scheduler.catalogue import Catalogue

    known = catalogue("silver")
    lab = known.lab.model_copy(
        update={
            "devices": tuple(d for d in known.lab.devices if d.id != "vial_storage"),
            "stocks": tuple(s for s in known.lab.stocks if s.id != "citrate"),
        }
    )
    with pytest.raises(JobRefused) as error:
        generate(parse({"name": "x", "workflow": [*MADE, ADD]}), Catalogue(lab, known.manifests), new_id())
    assert messages(error.value.problems) == {
        "/workflow/0": "`batch_synthesis.prepare` uses the device `vial_storage`, which the lab file does not define.",
        "/workflow/1": "The lab has no stock `citrate`, which this needs. Ask an operator to add it to the lab file.",
    }


def test_many_problems_are_told_at_once() -> None:
    workflow = [
        {"task": "batch_synthesis.prepare", "with": {"colour": "red"}},
        add(volume="6 mL"),
        {"task": "batch_synthesis.stir", "with": {"speed": "1 m"}},
        {"task": "uv_vis.mesure"},
    ]
    assert set(refused(workflow)) == {
        "/workflow/0/with/colour",
        "/workflow/1/with/volume",
        "/workflow/2/with/speed",
        "/workflow/3/task",
    }


# --- whatever comes

TASKS = st.sampled_from([*catalogue("silver").task_names, "x.y", "add"])
VALUES: st.SearchStrategy[Any] = st.sampled_from(
    ["1 mL", "5 min", "1000 rpm", "Citrate", "$a", "$task.x", "$add.delivered", "$measure.peak_nm", 5, -1, 1e12, True, None, [], ["$a"], {}]
)  # fmt: skip
NAMES = st.sampled_from(["solution", "volume", "rate", "time", "speed", "temperature", "boxcar", "x"])
ENTRIES = st.fixed_dictionaries(
    {"task": TASKS},
    optional={
        "with": st.dictionaries(NAMES, VALUES, max_size=4),
        "needs": st.lists(st.sampled_from(["add", "prepare", "measure", "react", "x"]), max_size=2),
        "within": VALUES.filter(lambda value: isinstance(value, str | int) and not isinstance(value, bool)),
        "id": st.sampled_from(["add", "measure", "x"]),
    },
)
SAMPLES = st.none() | st.integers(1, 70) | st.just([{"from": {"position": "vial_storage.1.1"}}])


@given(st.lists(ENTRIES, min_size=1, max_size=8), SAMPLES, st.dictionaries(st.just("a"), VALUES))
@settings(max_examples=150)
def test_any_job_is_expanded_or_refused_with_reasons(workflow: list[Any], samples: Any, parameters: Any) -> None:
    document = parse({"name": "x", "workflow": workflow, "samples": samples, "parameters": parameters})
    problems: tuple[Problem, ...] = ()
    steps = []
    try:
        steps = generate(document, catalogue("silver"), new_id()).steps
    except JobRefused as error:
        problems = error.problems
    assert steps or problems
    for problem in problems:
        assert problem.message[-1] in ".?"
        assert problem.path.startswith(("/workflow", "/samples")) or "more problems" in problem.message
