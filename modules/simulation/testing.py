"""A simulated lab with its drivers, for tests of drivers, modules and hosts."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modules.drivers import SerialDevice, SerialPort, driver_settings
from modules.simulation.clock import ScaledClock
from modules.simulation.lab import LOG, SimulatedLab
from modules.simulation.shipped import shipped_instruments
from modules.simulation.world import World

ANSWER_S = 5.0
"""Patience of the drivers, real seconds: long, for busy machines. Shorten it where no answer is to come."""


class Bench:
    """A running simulated lab, and drivers for its instruments.

    Attributes
    ----------
    lab : SimulatedLab
        Ask it for faults.
    clock : ScaledClock
        Lab time of simulation and drivers.
    world : World
        What is true. It belongs to the lab's thread: read it while nothing moves.
    """

    def __init__(self, folder: Path, sections: Sequence[Mapping[str, Any]], clock: ScaledClock, seed: int) -> None:
        self.clock = clock
        self.folder = folder
        self.sections = {str(section["id"]): section for section in sections}
        self.world = World.shipped()
        self.lab = SimulatedLab(self.world, sections, clock, links=folder, seed=seed)
        self.ports: dict[str, SerialPort] = {}
        self._devices: dict[str, SerialDevice] = {}

    def device(self, name: str, **settings: Any) -> Any:
        """Return the driver for an instrument; those on one bus share a port."""
        if name not in self._devices or settings:
            self._devices[name] = self.new_device(name, **settings)
        return self._devices[name]

    def new_device(self, name: str, **settings: Any) -> Any:
        """Return a fresh driver."""
        section = self.sections[name]
        module, _, attribute = str(section["driver"]).partition(":")
        driver = getattr(importlib.import_module(module), attribute)
        address = str(section["address"])
        if address not in self.ports:
            self.ports[address] = SerialPort(address, driver.wire, links=self.folder, answer_timeout=ANSWER_S)
        settings = {**driver_settings(section), "clock": self.clock, **settings}
        return driver(name, self.ports[address], **settings)

    def port(self, name: str) -> SerialPort:
        """Return the port of an instrument."""
        self.device(name)
        return self.ports[str(self.sections[name]["address"])]

    def log(self, kind: str | None = None, instrument: str | None = None, **having: Any) -> list[dict[str, Any]]:
        """Return the lines of ``commands.jsonl`` that match."""
        lines = [json.loads(line) for line in (self.folder / LOG).read_text().splitlines()]
        return [
            line
            for line in lines
            if (kind is None or line["kind"] == kind)
            and (instrument is None or line["instrument"] == instrument)
            and all(line.get(key) == value for key, value in having.items())
        ]

    def close(self) -> None:
        """Close the ports and stop the lab."""
        for device in self._devices.values():
            device.close()
        self.lab.stop()


@contextmanager
def bench(
    folder: Path,
    *,
    scale: float = 500.0,
    sections: Sequence[Mapping[str, Any]] | None = None,
    seed: int = 0,
    start: float = 0.0,
) -> Iterator[Bench]:
    """Run a simulated lab in a thread; the shipped instruments by default.

    Parameters
    ----------
    folder : pathlib.Path
        For links, log and snapshot; a second bench in the same folder goes on where the first stopped.
    scale : float, optional
        Lab seconds per real second.
    start : float, optional
        Lab time at the start.
    """
    made = Bench(folder, shipped_instruments() if sections is None else sections, ScaledClock(scale, start), seed)
    made.lab.start()
    try:
        yield made
    finally:
        made.close()
