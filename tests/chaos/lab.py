"""The lab that chaos reigns in: the shipped silver lab, and two virtual modules with a host each."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from octolab.stack.options import DEFAULT_LAB

VIRTUAL = ("left", "right")
DEVICES_EACH = 3
SLOTS_EACH = 3
SILVER_HOST = "host-host"
SILVER_DEVICES = (
    "arm", "vial_storage", "linear_actuator", "stirrer", "pipette", "spectrometer",
    "pump_citrate", "pump_h2o2", "pump_nabh4", "pump_agno3",
)  # fmt: skip
CUVETTES = 8
"""Of the shipped lab; each may have to be put back by hand."""


def write_lab_file(path: Path, *, silver: bool) -> None:
    """Write the lab file."""
    text = DEFAULT_LAB.read_text(encoding="utf-8") if silver else 'name = "Chaos"\n[clock]\nscale = 1\n'
    path.write_text(text + "".join(_virtual(instance) for instance in VIRTUAL), encoding="utf-8")


def devices() -> tuple[str, ...]:
    """Return the ids of the virtual devices."""
    return tuple(f"{instance}_{n}" for instance in VIRTUAL for n in range(1, DEVICES_EACH + 1))


def hosts() -> tuple[str, ...]:
    """Return the names of the virtual hosts' processes."""
    return tuple(f"host-{instance}" for instance in VIRTUAL)


def _virtual(instance: str) -> str:
    names = [f"virtual_{n}" for n in range(1, DEVICES_EACH + 1)]
    mapping = ", ".join(f'{name} = "{name.replace("virtual", instance)}"' for name in names)
    sections = [
        f'\n[modules.{instance}]\npackage = "modules.virtual"\nhost = "{instance}"\ndevices = {{ {mapping} }}\n',
        f"[modules.{instance}.options]\ndevices = {DEVICES_EACH}\nslots = {SLOTS_EACH}\n",
    ]
    sections += [
        f'\n[[devices]]\nid = "{name.replace("virtual", instance)}"\ntitle = "Device {name[-1]} of {instance}"\n'
        f'driver = "modules.drivers.virtual:VirtualDevice"\naddress = "sim://{instance}"\n'
        'simulator = "modules.simulation.virtual:SimulatedVirtual"\n'
        for name in names
    ]
    return "".join(sections)


def virtual_job(chance: random.Random, name: str) -> dict[str, Any]:
    """Return a job for the virtual modules: slots, several devices at once, dwells, failures on request."""

    def use(instance: str) -> dict[str, Any]:
        count = chance.choice((1, 1, 2))
        chosen = chance.sample([f"virtual_{n}" for n in range(1, DEVICES_EACH + 1)], count)
        parameters: dict[str, Any] = {"devices": chosen, "time": f"{chance.randint(60, 240)} s"}
        if chance.random() < 0.3:
            parameters["standby"] = f"{chance.randint(10, 200)} s"
        if chance.random() < 0.05:
            parameters["fail"] = True
        return {"task": f"{instance}.occupy", "with": parameters}

    first, second = chance.sample(VIRTUAL, 2)
    tasks = [use(first) for _ in range(chance.randint(1, 2))] + [use(second) for _ in range(chance.randint(0, 2))]
    workflow = [{"task": f"{first}.enter"}, *tasks, {"task": f"{first}.leave"}]
    for number, task in enumerate(workflow):
        task["id"] = f"t{number}"
    return {
        "name": name,
        "retries": chance.choice((0, 0, 1)),
        "samples": {"sweep": {"n": list(range(1, chance.randint(1, 3) + 1))}},
        "workflow": workflow,
    }


def silver_job(chance: random.Random, name: str) -> dict[str, Any]:
    """Return a short synthesis with a spectrum at its end."""

    def add(solution: str, concentration: str) -> dict[str, Any]:
        volume = f"{chance.choice((1200, 1500, 2000))} µL"
        return {
            "task": "batch_synthesis.add",
            "with": {"solution": solution, "concentration": concentration, "volume": volume, "rate": "200 µL/s"},
        }

    return {
        "name": name,
        "samples": {"sweep": {"n": list(range(1, chance.randint(1, 2) + 1))}},
        "workflow": [
            {"task": "batch_synthesis.home"},
            {"task": "uv_vis.home"},
            {"task": "batch_synthesis.prepare"},
            add("Citrate", "20 mM"),
            add("NaBH4", "10 mM"),
            {"task": "batch_synthesis.stir", "with": {"speed": "1000 rpm"}},
            {"task": "batch_synthesis.mix", "with": {"time": "60 s"}},
            {"task": "batch_synthesis.react", "with": {"time": "300 s"}},
            {
                "task": "uv_vis.measure",
                "id": "spectrum",
                "with": {
                    **{"wavelength_start": "300 nm", "wavelength_stop": "849 nm", "boxcar": 10},
                    **{"prominence": 0.01, "peak_width": "20 nm"},
                },
            },
            {"task": "uv_vis.store"},
        ],
    }
