"""What the shipped modules say about themselves."""

from __future__ import annotations

import importlib
from typing import Any
from uuid import UUID

import pint
import pytest

from modules.contract.arithmetic import ExpressionError
from modules.contract.lab import LabFileError, load
from modules.contract.manifest import Manifest
from modules.contract.units import canonical
from scheduler.generator import StepRow, generate
from scheduler.generator.offers import find
from scheduler.jobformat import parse
from tests.jobs.lab import LABS, catalogue, example

SHIPPED = ("modules.batch_synthesis", "modules.uv_vis", "modules.virtual")

DEVICES = ("arm", "vial_storage", "linear_actuator", "pump", "pipette", "spectrometer")
PUBLISHED = {
    # H. J. Yoo et al., Nat. Commun. 15, 9669 (2024), masking table: the platform's one arm counts for both modules
    ("prepare", "load"): (1, 1, 1, 0, 0, 0),
    ("add", "add"): (0, 0, 1, 1, 0, 0),
    ("react", "dwell"): (0, 0, 0, 0, 0, 0),
    ("react", "unload"): (1, 0, 1, 0, 0, 0),
    ("measure", "prepare"): (1, 0, 0, 0, 1, 0),
    ("measure", "measure"): (1, 0, 0, 0, 1, 1),
    ("measure", "store"): (1, 0, 0, 0, 1, 0),
    ("park", "park"): (1, 1, 1, 0, 0, 0),
    ("stir", "set"): (0, 0, 0, 0, 0, 0),
    ("heat", "set"): (0, 0, 0, 0, 0, 0),
    ("mix", "dwell"): (0, 0, 0, 0, 0, 0),
}


@pytest.mark.parametrize("package", SHIPPED)
def test_a_manifest_reads_back_and_keeps_its_hash(package: str) -> None:
    manifest: Manifest = importlib.import_module(package).manifest({})
    assert Manifest.model_validate(manifest.model_dump(mode="json")).hash() == manifest.hash()


@pytest.mark.parametrize("package", SHIPPED)
def test_every_action_that_is_declared_is_there_and_used(package: str) -> None:
    module = importlib.import_module(package)
    manifest: Manifest = module.manifest({})
    used = {step.action for task in manifest.tasks for step in task.steps} - {None}
    assert used == {action.name for action in manifest.actions} == set(module.ACTIONS)
    assert all(action.__doc__ for action in module.ACTIONS.values())


@pytest.mark.parametrize("package", SHIPPED)
def test_options_change_the_manifest_and_unknown_ones_are_refused(package: str) -> None:
    module = importlib.import_module(package)
    changed = {"modules.batch_synthesis": "vial_slots", "modules.uv_vis": "cuvette_slots", "modules.virtual": "slots"}
    assert module.manifest({changed[package]: 3}).hash() != module.manifest({}).hash()
    with pytest.raises(ValueError, match="slotz"):
        module.manifest({"slotz": 3})


@pytest.mark.parametrize("lab", ["silver", "virtual"])
def test_every_unit_is_a_unit(lab: str) -> None:
    registry: Any = pint.UnitRegistry()
    for manifest in catalogue(lab).manifests.values():
        units = [consumable.unit for consumable in manifest.consumables.values()]
        for task in manifest.tasks:
            units += [parameter.get("unit", "") for parameter in task.parameters["properties"].values()]
            units += [result.unit for result in task.results]
        for unit in units:
            registry.parse_units(canonical(unit))


@pytest.mark.parametrize(("task", "mask"), PUBLISHED.items())
def test_masks_are_the_published_ones_and_the_stirrers_own(task: tuple[str, str], mask: tuple[int, ...]) -> None:
    name, step_name = task
    module = "uv_vis" if name == "measure" else "batch_synthesis"
    manifest = catalogue("silver").manifests[module]
    step = next(step for step in manifest.task(name).steps if step.name == step_name)
    masked = {device.removesuffix("s") if device == "pumps" else device for device in step.devices}
    assert tuple(int(device in masked) for device in DEVICES) == mask
    assert ("stirrer" in masked) == (name in ("stir", "heat"))


def test_the_arm_keeps_still_while_a_spectrum_is_taken() -> None:
    measure = catalogue("silver").manifests["uv_vis"].task("measure").steps[1]
    assert measure.devices["arm"] == "still"


def test_every_step_of_the_demo_that_talks_to_an_instrument_masks_it() -> None:
    expansion = generate(parse(example("silver-nanoparticles")), catalogue("silver"), UUID(int=0))
    talks: dict[str, set[str]] = {
        "load_vial": {"arm", "vial_storage", "linear_actuator"},
        "add_solution": {"linear_actuator", "pump_citrate", "pump_h2o2", "pump_nabh4", "pump_agno3"},
        "set_stirring": {"stirrer"},
        "set_heating": {"stirrer"},
        "unload_vial": {"arm", "linear_actuator"},
        "prepare_cuvette": {"arm"},
        "measure_spectrum": {"pipette", "spectrometer"},
        "store_cuvette": {"arm"},
        "store": {"arm", "vial_storage"},
    }
    seen = set()
    for step in expansion.steps:
        if step.action in talks:
            seen.add(step.action)
            assert {device for device, mode in step.devices.items() if mode == "use"} >= talks[step.action]
    assert seen == set(talks)


def test_four_pumps_share_one_bus_and_one_mask() -> None:
    lab = catalogue("silver").lab
    pumps = lab.device_ids("batch_synthesis", "pumps")
    assert len({lab.device(pump).address for pump in pumps}) == 1
    offer = find(catalogue("silver"), "batch_synthesis.add")
    assert offer is not None
    assert set(pumps) < set(offer.device_ids(offer.task.steps[0], {}))


def test_durations_follow_the_parameters() -> None:
    def add(volume: str, rate: str) -> StepRow:
        document: Any = {
            "name": "x",
            "workflow": [
                {"task": "batch_synthesis.prepare"},
                {"task": "batch_synthesis.add", "with": {"solution": "Citrate", "volume": volume, "rate": rate}},
            ],
        }
        return generate(parse(document), catalogue("silver"), UUID(int=0)).steps[1]

    assert add("2 mL", "100 µL/s").duration_s - add("1 mL", "100 µL/s").duration_s == pytest.approx(20.5)
    assert add("1 mL", "50 µL/s").duration_s - add("1 mL", "100 µL/s").duration_s == pytest.approx(20.0)


def test_the_labs_that_ship() -> None:
    silver, virtual, real = (load(LABS / f"{name}.toml") for name in ("silver", "virtual", "real-example"))
    assert (silver.simulated, virtual.simulated, real.simulated) == (True, True, False)
    assert (silver.clock.scale, real.clock.scale) == (600, 1)
    places = catalogue("silver").places
    assert {name: place.capacity for name, place in places.items()} == {
        "vial_storage": 60,
        "batch_synthesis.vial_slot": 8,
        "vial_holder": 1,
        "uv_vis.cuvette_slot": 8,
        "uv_vis.cuvette_position": 1,
    }
    assert places["vial_storage"].name(13) == "vial_storage.2.4"
    assert places["vial_storage"].index("vial_storage.2.4") == 13
    for lab in (silver, virtual, real):
        for device in lab.devices:
            module, _, name = device.driver.partition(":")
            assert hasattr(importlib.import_module(module), name)
            if device.simulator:
                module, _, name = device.simulator.partition(":")
                assert hasattr(importlib.import_module(module), name)
        for instance, section in lab.modules.items():
            manifest = importlib.import_module(section.package).manifest(section.options)
            known = {one.id for one in (*lab.devices, *lab.people)}
            for local in manifest.devices:
                assert set(lab.device_ids(instance, local)) <= known
            assert {lab.stock_id(instance, name) for name in manifest.consumables} <= {s.id for s in lab.stocks}


def test_a_bad_lab_file_names_line_and_reason(tmp_path: Any) -> None:
    text = (LABS / "silver.toml").read_text().replace('pumps = ["pump_citrate"', 'pumps = ["pump_citrat"')
    bad = tmp_path / "bad.toml"
    bad.write_text(text)
    with pytest.raises(LabFileError, match="pump_citrat"):
        load(bad)


def _manifest(**step: Any) -> dict[str, Any]:
    whole = {"name": "step", "action": "act", "duration_s": "1", **step}
    parameters = {"type": "object", "properties": {"which": {"type": "string"}}}
    return {
        "package": "x",
        "version": "1",
        "title": "x",
        "devices": {"arm": {"settings": {"speed": {"unit": "1"}}}},
        "resources": {"slot": {"capacity": 2}},
        "consumables": {"tips": {"unit": "1"}},
        "tasks": [{"name": "task", "title": "x", "parameters": parameters, "steps": [whole]}],
        "actions": [{"name": "act"}],
    }


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ({"duration_s": "time * 2"}, "'time', which is no parameter"),
        ({"repeat": "n"}, "'n', which is no parameter"),
        ({"next_within_s": "n"}, "'n', which is no parameter"),
        ({"devices": {"leg": "use"}}, "device 'leg' is not declared"),
        ({"devices": {"=device": "use"}}, "device '=device' is not declared"),
        ({"takes": ["place"]}, "resource 'place' is not declared"),
        ({"keeps": ["arm.colour"]}, "setting 'arm.colour' is not declared"),
        ({"consumes": {"=what": "1"}}, "consumable '=what' is not declared"),
        ({"adds": {"solution": "which", "volume_ul": "v"}}, "'v', which is no parameter"),
        ({"action": "jump"}, "action 'jump' is not declared"),
    ],
)
def test_manifests_that_do_not_add_up(step: dict[str, Any], reason: str) -> None:
    Manifest.model_validate(_manifest(devices={"=which": "use"}, keeps=["arm.speed"]))
    with pytest.raises(ValueError, match=reason):
        Manifest.model_validate(_manifest(**step))


def test_a_grid_has_as_many_places_as_the_resource() -> None:
    data = _manifest()
    data["resources"]["slot"]["grid"] = [2, 2]
    with pytest.raises(ValueError, match="4 places, not 2"):
        Manifest.model_validate(data)


def test_an_expression_that_gives_nonsense_is_told() -> None:
    from modules.contract.manifest import Step
    from scheduler.generator.offers import evaluate_step

    with pytest.raises(ExpressionError, match="must not be negative"):
        evaluate_step(Step(name="s", duration_s="a - 2"), {"a": 1})
    with pytest.raises(ExpressionError, match="1000 is the most"):
        evaluate_step(Step(name="s", duration_s="1", repeat="a"), {"a": 1001})
    with pytest.raises(ExpressionError, match="division"):
        evaluate_step(Step(name="s", duration_s="1 / a"), {"a": 0})
