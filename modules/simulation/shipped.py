"""The instruments of the shipped lab, as sections of its lab file."""

from __future__ import annotations

from typing import Any

PUMPS = {"pump_citrate": 20.0, "pump_h2o2": 375.0, "pump_nabh4": 10.0, "pump_agno3": 1.25}


def shipped_instruments() -> list[dict[str, Any]]:
    """Return the sections; concentrations in mM."""
    plain = {
        "arm": ("arm:SimulatedArm", "arm:RobotArm"),
        "vial_storage": ("storage:SimulatedStorage", "storage:VialStorage"),
        "linear_actuator": ("actuator:SimulatedActuator", "actuator:LinearActuator"),
        "stirrer": ("stirrer:SimulatedStirrer", "stirrer:Hotplate"),
        "pipette": ("pipette:SimulatedPipette", "pipette:UArmPipette"),
        "spectrometer": ("spectrometer:SimulatedSpectrometer", "spectrometer:UVVisSpectrometer"),
    }
    sections: list[dict[str, Any]] = [
        {
            "id": name,
            "simulator": f"modules.simulation.{simulator}",
            "driver": f"modules.drivers.{driver}",
            "address": f"sim://{name}",
        }
        for name, (simulator, driver) in plain.items()
    ]
    for number, (name, concentration) in enumerate(PUMPS.items(), start=1):
        sections.append(
            {
                "id": name,
                "simulator": "modules.simulation.pump:SimulatedPump",
                "driver": "modules.drivers.pump:SyringePump",
                "address": "sim://pump_bus",
                "bus_address": number,
                "simulation": {"concentration_mm": concentration},
            }
        )
    return sections
