"""The shipped modules' actions against the simulated instruments."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from modules.drivers import Refused
from scheduler.generator import Expansion, StepRow, generate
from scheduler.jobformat import parse
from tests.jobs.lab import catalogue, example
from tests.modules.bench import Context, Runner, running

SCALE = 2000.0


def expanded(document: Any, lab: str = "silver") -> Expansion:
    return generate(parse(document), catalogue(lab), UUID(int=0))


def steps_of(expansion: Expansion, task: str) -> list[StepRow]:
    return [step for step in expansion.steps if step.task_name == task]


@pytest.fixture
def silver(tmp_path: Path) -> Iterator[Runner]:
    with running("silver", tmp_path, SCALE) as runner:
        yield runner


@pytest.fixture
def homed(silver: Runner) -> Runner:
    silver.run_all(expanded(example("home")))
    return silver


def test_the_demo_recipe_makes_what_it_says(tmp_path: Path) -> None:
    with running("silver", tmp_path, 6000.0) as silver:
        _make_two_vials(silver)


def _make_two_vials(silver: Runner) -> None:
    expansion = expanded(example("silver-nanoparticles").replace("count: 6", "count: 2"))
    contexts = silver.run_all(expansion)
    world = silver.bench.world
    assert (world.incidents, world.spilled_ul) == (0, 0.0)
    # the vials are back where they came from, with what the recipe puts into them
    for position, silver_ul in ((1, 100.0), (2, 1200.0)):
        vial = world.standing[f"vial_storage.1.{position}"]
        assert vial.volume_ul == pytest.approx(5400.0 + silver_ul - 900.0, abs=1.0)
    assert not [place for place in world.standing if place.startswith(("stirrer", "vial_holder", "spectrometer"))]
    assert [silver.places[sample.id] for sample in expansion.samples] == [{"vial_storage": 0}, {"vial_storage": 1}]
    spectra = [context for context in contexts if "absorbance" in context.arrays]
    absorbance, axes = spectra[0].arrays["absorbance"]
    wavelengths, unit = axes["wavelength"]
    assert (wavelengths[0], wavelengths[-1], unit, absorbance.shape) == (300.0, 849.0, "nm", (550,))
    little, much = (context.results for context in spectra)
    assert 380 < little["peak_nm"] < 450 < 700 < much["peak_nm"] < 800
    assert 0 < little["fwhm_nm"] < much["fwhm_nm"]
    assert much["peak_height"] == pytest.approx(absorbance_at(spectra[1], much["peak_nm"]), rel=0.02)
    assert [c.results["delivered"] for c in contexts if "delivered" in c.results][3::4] == pytest.approx(
        [100.0, 1200.0], abs=0.5
    )


def absorbance_at(context: Context, nm: float) -> float:
    absorbance, axes = context.arrays["absorbance"]
    return float(absorbance[np.argmin(np.abs(axes["wavelength"][0] - nm))])


def test_homing_what_is_homed_moves_nothing(homed: Runner) -> None:
    home = [step for step in expanded(example("home")).steps if step.action != "home_pipette"]
    before = len(homed.bench.log("command", moves=True))
    for step in home:
        homed.run(step)
    assert len(homed.bench.log("command", moves=True)) == before
    assert before > 0


def test_nothing_moves_before_it_is_homed(silver: Runner) -> None:
    expansion = expanded({"name": "x", "workflow": [{"task": "batch_synthesis.prepare"}]})
    with pytest.raises(Refused):
        silver.run(expansion.steps[0])


def test_a_lost_vial_is_put_away_from_wherever_it_is(homed: Runner) -> None:
    expansion = expanded(
        {
            "name": "x",
            "workflow": [
                {"task": "batch_synthesis.prepare"},
                {"task": "batch_synthesis.react", "with": {"time": 0}},
                {"task": "uv_vis.measure"},
            ],
        }
    )
    (load,) = steps_of(expansion, "prepare")
    unload = steps_of(expansion, "react")[1]
    cuvette = steps_of(expansion, "measure")[0]
    for step in (load, unload, cuvette):
        homed.run(step)
    # it failed in the middle of the measurement: cuvette and vial stand in working places
    for step in (s for s in expansion.steps if s.dormant and set(s.frees) & set(homed.places[expansion.samples[0].id])):
        homed.run(step)
    world = homed.bench.world
    assert homed.places[expansion.samples[0].id] == {"vial_storage": 0}
    assert {"vial_storage.1.1", "cuvette.1"} < world.standing.keys()
    assert not {"vial_holder", "spectrometer", "gripper"} & world.standing.keys()


def test_a_pipette_that_was_broken_off_is_out_of_the_arms_way(homed: Runner) -> None:
    expansion = expanded(
        {
            "name": "x",
            "workflow": [
                {"task": "batch_synthesis.prepare"},
                {"task": "batch_synthesis.react", "with": {"time": 0}},
                {"task": "uv_vis.measure"},
            ],
        }
    )
    (load,) = steps_of(expansion, "prepare")
    for step in (load, steps_of(expansion, "react")[1], steps_of(expansion, "measure")[0]):
        homed.run(step)
    pipette = homed.bench.device("pipette")
    for place in ("tips", "vial_holder"):
        pipette._go(pipette._above(place), Event())
        pipette._go(pipette._taught(place), Event())
    (clear,) = steps_of(expansion, "clear")
    homed.run(clear)
    assert homed.bench.world.incidents == 0
    assert homed.bench.world.pipette == "parked"
    assert "cuvette.1" in homed.bench.world.standing


def test_a_vial_that_never_left_the_storage_is_in_order(homed: Runner) -> None:
    expansion = expanded({"name": "x", "workflow": [{"task": "batch_synthesis.prepare"}]})
    sample = expansion.samples[0].id
    homed.places[sample] = {"vial_storage": 0, "batch_synthesis.vial_slot": 0}
    (rescue,) = steps_of(expansion, "rescue_from_slot")
    homed.run(rescue)
    assert homed.places[sample] == {"vial_storage": 0}
    assert "vial_storage.1.1" in homed.bench.world.standing
    (park,) = steps_of(expansion, "park")
    homed.places[sample] = {"vial_storage": 0, "batch_synthesis.vial_slot": 0}
    with pytest.raises(Refused, match=r"nothing stands at stirrer\.1"):
        homed.run(park)


def test_the_nozzles_are_out_of_the_way_whatever_happened_before(homed: Runner) -> None:
    expansion = expanded(
        {"name": "x", "workflow": [{"task": "batch_synthesis.prepare"}], "samples": [{"name": "a"}, {"name": "b"}]}
    )
    first, second = steps_of(expansion, "prepare")
    homed.run(first)
    homed.bench.device("linear_actuator").down_to("stirrer.1")
    homed.run(second)
    assert homed.bench.world.incidents == 0


def test_an_instruments_own_error_comes_through_the_plan(homed: Runner) -> None:
    expansion = expanded(example("uv-only"))
    fetch = steps_of(expansion, "fetch")[0]
    homed.places[expansion.samples[0].id] = {"vial_storage": 58}
    homed.run(fetch)
    measure = steps_of(expansion, "measure")
    homed.run(measure[0])
    measure[1].task.parameters["volume"] = 5000.0
    with pytest.raises(ValueError, match="takes up to 1000 µL"):
        homed.run(measure[1])


def test_an_empty_spectrum_has_no_peak(homed: Runner) -> None:
    expansion = expanded(example("uv-only"))
    sample = expansion.samples[0]
    homed.places[sample.id] = {"vial_storage": 58}
    contexts = [homed.run(step) for step in expansion.steps if step.task.samples == [sample] and not step.dormant]
    (spectrum,) = (context for context in contexts if context.arrays)
    assert spectrum.results == {}
    assert np.abs(spectrum.arrays["absorbance"][0]).max() < 0.05


def test_virtual_devices_are_used_fail_and_overrun(tmp_path: Path) -> None:
    def step(**parameters: Any) -> StepRow:
        workflow = [{"task": "virtual.occupy", "with": {"time": "30 s", **parameters}}]
        return expanded({"name": "x", "workflow": workflow}, "virtual").steps[0]

    with running("virtual", tmp_path, SCALE) as runner:
        context = runner.run(step(devices=["virtual_1", "virtual_3"]))
        assert context.results["seconds"] >= 30
        runs = [line["instrument"] for line in runner.bench.log("command", moves=True)]
        assert sorted(runs) == ["virtual_1", "virtual_3"]
        assert runner.run(step(overrun=3)).results["seconds"] >= 90
        with pytest.raises(Refused, match="as asked"):
            runner.run(step(devices=["virtual_2"], fail=True))
        with pytest.raises(RuntimeError, match="as asked"):
            runner.run(step(fail=True))
        noop = expanded({"name": "x", "workflow": [{"task": "virtual.noop", "with": {"value": 3}}]}, "virtual")
        assert runner.run(noop.steps[0]).results == {"value": 3.0}
