"""What really happens: collisions, spills, heat, restarts."""

from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path

import pytest

from modules.drivers import DeviceError, Refused
from modules.simulation import World, order
from modules.simulation.plate import Plate
from modules.simulation.testing import Bench, bench


def background(call) -> threading.Thread:
    """Run a call that is going to be broken off."""

    def work() -> None:
        with contextlib.suppress(DeviceError):
            call()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def codes(lab: Bench) -> list[tuple[str, str]]:
    return [(line["instrument"], line["code"]) for line in lab.log("incident")]


def test_impossible_moves_are_refused_and_written_down(lab: Bench) -> None:
    arm = lab.device("arm")
    arm.home()
    for call, code in (
        (lambda: arm.pick("stirrer.1"), "empty"),
        (lambda: arm.pick("vial_storage.1.1"), "closed"),
        (lambda: arm.place("stirrer.1"), "gripper_empty"),
    ):
        with pytest.raises(Refused) as caught:
            call()
        assert caught.value.code == code
    with pytest.raises(Refused, match="no place nowhere"):
        arm.pick("nowhere")
    lab.device("vial_storage").open_line(1)
    arm.pick("vial_storage.1.1")
    assert arm.holding()
    for place, code in (("vial_storage.1.2", "occupied"), ("spectrometer", "no_fit")):
        with pytest.raises(Refused) as caught:
            arm.place(place)
        assert caught.value.code == code
    with pytest.raises(Refused, match="something in the gripper"):
        arm.pick("vial_storage.1.3")
    assert [code for _, code in codes(lab)] == [
        "empty",
        "closed",
        "gripper_empty",
        "occupied",
        "no_fit",
        "gripper_full",
    ]
    assert not lab.log("command", "arm", verb="PICK", accepted=False)[0]["accepted"]


def test_the_nozzle_is_in_the_arms_way(lab: Bench) -> None:
    lab.device("arm").home()
    lab.device("linear_actuator").home()
    lab.device("vial_storage").open_line(1)
    lab.device("arm").pick("vial_storage.1.1")
    lab.device("linear_actuator").down_to("stirrer.1")
    with pytest.raises(Refused, match="nozzle stands in the way"):
        lab.device("arm").place("stirrer.1")
    lab.device("linear_actuator").center()
    lab.device("arm").place("stirrer.1")
    assert codes(lab) == [("arm", "collision")]


def test_the_arm_must_keep_still_while_a_spectrum_is_taken(slow_lab: Bench) -> None:
    arm = slow_lab.device("arm")
    arm.connect()
    spectrometer = slow_lab.device("spectrometer")
    spectrometer.connect()
    thread = background(spectrometer.reference)
    while not slow_lab.log("command", "spectrometer", verb="REF"):
        pass
    with pytest.raises(Refused, match="spectrometer is at work"):
        arm.home()
    spectrometer.safe_state()
    thread.join(3)
    assert codes(slow_lab) == [("arm", "collision")]


def test_the_actuator_runs_into_the_arm(slow_lab: Bench) -> None:
    axis = slow_lab.device("linear_actuator")
    axis.connect()
    slow_lab.lab.instruments["linear_actuator"].memory["alarm"] = False
    slow_lab.world.claims["arm"] = {"arm", "batch"}
    with pytest.raises(Refused, match="hard limit: it ran into something"):
        axis.down_to("stirrer.4")
    assert axis.status().state == "unhomed"
    assert codes(slow_lab) == [("linear_actuator", "collision")]


def test_a_sideways_move_with_the_nozzle_down_is_a_crash(lab: Bench) -> None:
    axis = lab.device("linear_actuator")
    axis.home()
    axis.down_to("stirrer.2")
    with pytest.raises(Refused, match="hard limit"):
        axis._go("X", 200.0, axis._stop)
    axis.home()
    assert axis.position() == (250.0, 0.0)


def test_liquid_falls_where_the_nozzle_is(lab: Bench) -> None:
    lab.world.move("vial_storage.1.1", "stirrer.3", 0.0)
    axis, pump = lab.device("linear_actuator"), lab.device("pump_citrate")
    axis.home()
    pump.initialize()
    axis.down_to("stirrer.3")
    pump.dispense(400, 200)
    axis.down_to("stirrer.4")  # where nothing stands
    pump.dispense(300, 200)
    assert lab.world.standing["stirrer.3"].portions == pytest.approx({"citrate 20 mM": 400}, abs=0.5)
    assert lab.world.spilled_ul == pytest.approx(300, abs=0.5)
    assert "fell at stirrer.4" in lab.log("incident")[0]["text"]


def test_an_overfull_vial_spills() -> None:
    world = World.shipped()
    world.solutions["water"] = ("water", 0.0)
    assert world.pour("vial_storage.1.1", "water", 25_000, 1.0) == 5_000
    assert world.spilled_ul == 5_000


def test_a_sample_carries_its_share_of_everything() -> None:
    world = World.shipped()
    world.solutions |= {"a": ("agno3", 1.0), "b": ("nabh4", 10.0)}
    world.pour("vial_storage.1.1", "a", 300, 0.0)
    world.pour("vial_storage.1.1", "b", 700, 0.0)
    sample = world.sample("vial_storage.1.1", 100, 3600.0)
    assert sample.portions == pytest.approx({"a": 30, "b": 70})
    assert world.deliver("cuvette.1", sample, 3600.0) == 0
    recipe = world.recipe("cuvette.1", 3600.0)
    assert recipe.amounts_umol == pytest.approx({"agno3": 0.03, "nabh4": 0.7})
    assert recipe.dose == pytest.approx(world.standing["vial_storage.1.1"].dose)
    assert world.deliver("stirrer.1", sample, 3600.0) == pytest.approx(100)


def test_the_plate_warms_slowly_and_spins_up_quickly() -> None:
    plate = Plate()
    plate.heat(0.0, on=True, set_degc=82.0)
    plate.stir(0.0, on=True, set_rpm=1000)
    assert plate.temperature(0.0) == 22
    assert plate.temperature(180.0) == pytest.approx(22 + 60 * 0.632, abs=0.1)
    assert plate.temperature(3600.0) == pytest.approx(82, abs=0.01)
    assert [round(plate.speed(t)) for t in (0, 1, 2)] == [0, 600, 1000]
    plate.stir(10.0, on=False, set_rpm=1000)
    assert [round(plate.speed(t)) for t in (10, 11, 12)] == [1000, 400, 0]


def test_heat_speeds_the_reaction() -> None:
    doses = []
    for degc in (25.0, 60.0):
        world = World.shipped()
        world.move("vial_storage.1.1", "stirrer.1", 0.0)
        world.solutions["a"] = ("agno3", 1.0)
        world.pour("stirrer.1", "a", 300, 0.0)
        world.age_plate(0.0)
        world.plate.heat(0.0, on=True, set_degc=degc)
        doses.append(world.recipe("stirrer.1", 3600.0).dose)
    assert doses[1] > 3 * doses[0]


def test_the_pipettes_mishaps(lab: Bench) -> None:
    pipette = lab.device("pipette")
    pipette.home()
    pipette.sample("vial_holder", "spectrometer", 500)  # neither vial nor cuvette
    assert codes(lab) == [("pipette", "air")]
    with pytest.raises(ValueError, match="takes up to 1000"):
        pipette.sample("vial_holder", "spectrometer", 1500)
    with pytest.raises(ValueError, match="no place 'moon'"):
        pipette.sample("moon", "spectrometer", 100)
    assert lab.lab.instruments["pipette"].memory["tips"] == 95


def test_the_world_goes_on_after_a_restart(tmp_path: Path) -> None:
    with bench(tmp_path) as first:
        first.device("arm").home()
        first.device("vial_storage").open_line(1)
        first.device("arm").transfer("vial_storage.1.4", "stirrer.2")
        first.device("spectrometer").reference()
        stopped_at = first.clock.now()
    with bench(tmp_path, start=stopped_at) as second:
        assert second.world.standing["stirrer.2"].id == "vial-1.4"
        assert "vial_storage.1.4" not in second.world.standing
        arm = second.device("arm")
        assert arm.status().state == "idle"
        arm.transfer("stirrer.2", "vial_storage.1.4")
        assert second.device("spectrometer")._data("reference").max() > 10_000


def test_a_motion_goes_on_after_a_restart(tmp_path: Path) -> None:
    with bench(tmp_path, scale=1.0) as first:
        arm = first.device("arm")
        thread = background(arm.home)
        while not first.lab.instruments["arm"].moving:
            pass
        saved_at = first.clock.now()
        first.lab.stop()
        thread.join(5)
    assert json.loads((tmp_path / "world.json").read_text())["instruments"]["arm"]["motion"]["verb"] == "HOME"
    with bench(tmp_path, scale=500.0, start=saved_at) as second:
        arm = second.device("arm")
        assert arm.status().state in ("busy", "unhomed")
        second.clock.sleep(60)
        assert arm.status().state == "idle"


def test_a_persons_hands(lab: Bench) -> None:
    assert order(lab.folder, do="remove", place="vial_storage.1.1") == {"vessel": "vial-1.1"}
    assert order(lab.folder, do="fill", place="vial_storage.1.1") == {}
    assert order(lab.folder, do="refill", instrument="pump_agno3", volume_ul=5e5, concentration_mm=2.5) == {}
    assert order(lab.folder, do="refill", instrument="pipette", tips=12) == {}
    assert lab.lab.instruments["pump_agno3"].memory["solution"] == "agno3 2.5 mM"
    assert order(lab.folder, do="state")["world"]["spilled_ul"] == 0
    assert order(lab.folder, do="fault", instrument="arm", fault="silence", count=1) == {}
    for bad in ({"do": "fill", "place": "vial_storage.1.1"}, {"do": "dance"}, {"do": "fault"}):
        with pytest.raises(ValueError, match="Error"):
            order(lab.folder, **bad)


def test_bad_sections_are_refused(tmp_path: Path) -> None:
    good = {"id": "arm", "simulator": "modules.simulation.arm:SimulatedArm", "address": "sim://arm"}
    for change, text in (
        ({"simulator": "modules.simulation.arm"}, "must be package.module:Class"),
        ({"simulator": "nowhere:Arm"}, "cannot import"),
        ({"simulator": "json:JSONDecoder"}, "is no SimulatedInstrument"),
        ({"address": "/dev/ttyUSB0"}, "begins with sim://"),
    ):
        with pytest.raises(ValueError, match=text), bench(tmp_path, sections=[good | change]):
            pass


def test_a_sample_that_was_broken_off_is_cleared_away(slow_lab: Bench) -> None:
    pipette = slow_lab.device("pipette")
    pipette.connect()
    simulated = slow_lab.lab.instruments["pipette"]
    slow_lab.clock.scale = 200.0  # nothing has moved yet
    slow_lab.world.solutions["a"] = ("agno3", 1.0)
    slow_lab.world.new_vessel("vial_holder").add("a", 5000)
    thread = background(lambda: pipette.sample("vial_holder", "spectrometer", 500))
    while not simulated.memory["angle"]:
        pass
    assert pipette.safe_state() is True
    thread.join(5)
    pipette.home()
    pipette.discard_tip()
    assert simulated.memory["tip"] is None
    assert simulated.memory["angle"] == 0
    assert slow_lab.world.pipette == "parked"
    assert slow_lab.world.standing["vial_holder"].volume_ul == pytest.approx(4500)
    assert codes(slow_lab) == []


def test_what_people_collect_makes_room_as_in_a_lab() -> None:
    world = World.shipped()
    world.solutions["a"] = ("agno3", 1.0)
    world.pour("vial_storage.2.6", "a", 300, 0.0)
    world.collect("vial_storage.2.6", 10.0)
    assert world.standing["vial_storage.2.6"].volume_ul == 0, "no fresh vial stands there"
    for named, place in (("batch_synthesis.vial_slot.3", "stirrer.3"), ("vial_holder.1", "vial_holder")):
        world.move("vial_storage.1.1", place, 0.0)
        world.collect(named, 10.0)
        assert place not in world.standing
        world.collect(named, 10.0)  # somebody was there before
        world.new_vessel("vial_storage.1.1")
    with pytest.raises(ValueError, match=r"no place oven\.1"):
        world.collect("oven.1", 0.0)


def test_stocks_are_filled_by_their_names(lab: Bench) -> None:
    order(lab.folder, do="restock", stock="tips", level=500)
    order(lab.folder, do="restock", stock="AgNO3", level=250)
    assert lab.lab.instruments["pipette"].memory["tips"] == 500
    assert lab.lab.instruments["pump_agno3"].memory["reservoir_ul"] == 250_000
    with pytest.raises(ValueError, match="no instrument keeps vials"):
        order(lab.folder, do="restock", stock="vials", level=60)
