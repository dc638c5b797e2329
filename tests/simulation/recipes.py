"""Making and measuring a vial by driver calls alone."""

from __future__ import annotations

import numpy as np

from modules.simulation.testing import Bench

BASE = {"citrate": 1200.0, "h2o2": 1200.0, "nabh4": 3000.0}


def set_up(lab: Bench) -> None:
    for name in ("arm", "linear_actuator", "pipette"):
        lab.device(name).home()
    for name in ("citrate", "h2o2", "nabh4", "agno3"):
        lab.device(f"pump_{name}").initialize()
    lab.device("stirrer").stir(1000)
    lab.device("stirrer").heat(25)


def make_vials(lab: Bench, silver_ul: dict[int, float], react_s: float = 7200.0) -> None:
    """Prepare vials 1.<slot> in the stirrer's slots; the reaction of all runs for about ``react_s``."""
    arm, storage, axis = lab.device("arm"), lab.device("vial_storage"), lab.device("linear_actuator")
    storage.open_line(1)
    for slot in silver_ul:
        arm.transfer(f"vial_storage.1.{slot}", f"stirrer.{slot}")
    storage.close_line()
    for solution in (*BASE, "agno3"):
        for slot, silver in silver_ul.items():
            axis.down_to(f"stirrer.{slot}")
            lab.device(f"pump_{solution}").dispense(BASE.get(solution, silver), 200)
            axis.up()
    axis.center()
    lab.clock.sleep(react_s)


def measure(lab: Bench, slot: int) -> tuple[np.ndarray, np.ndarray]:
    """Carry a vial to the holder, measure it and put everything back; return wavelengths and absorbance."""
    arm, storage, spectrometer = lab.device("arm"), lab.device("vial_storage"), lab.device("spectrometer")
    spectrometer.configure(boxcar=10)
    arm.transfer(f"stirrer.{slot}", "vial_holder")
    arm.transfer(f"cuvette.{slot}", "cuvette_holder")
    arm.transfer("cuvette_holder", "spectrometer")
    spectrometer.reference()
    lab.device("pipette").sample("vial_holder", "spectrometer", 900)
    absorbance = spectrometer.absorbance()
    arm.transfer("spectrometer", f"cuvette.{slot}")
    storage.open_line(1)
    arm.transfer("vial_holder", f"vial_storage.1.{slot}")
    return spectrometer.wavelengths, absorbance
