"""The simulated stirrer and hotplate: NAMUR commands of an IKA RCT digital."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modules.simulation.instrument import SimulatedInstrument

if TYPE_CHECKING:
    from modules.simulation.lab import SimulatedLab

SET = re.compile(r"^OUT_SP_([14])[ _]\s*(-?\d+(?:\.\d+)?)$")
HIGHEST = {"1": 310.0, "4": 1500.0}


class SimulatedStirrer(SimulatedInstrument):
    """Hotplate with eight slots; what it does to the vials is the world's business."""

    def __init__(self, lab: SimulatedLab, section: Mapping[str, Any]) -> None:
        super().__init__(lab, section)
        self.memory.update(stuck=False)

    def execute(self, command: bytes) -> None:
        """Carry out a command; only ``IN_…`` is answered."""
        text = command.decode("latin-1").strip()
        moves = not text.startswith("IN_")
        if text.startswith("IN_"):
            answer = self._read(text)
            self.log(command, text, accepted=answer is not None, moves=False)
            if answer is not None:
                self.answer(answer.encode() + b" \r\n")
            return
        done = self._obey(text)
        self.log(command, text.split()[0] if text else "", accepted=done, moves=moves)
        self._changed()

    def _read(self, text: str) -> str | None:
        plate, now = self.world.plate, self.now
        if text == "IN_NAME":
            return "RCT digital"
        values = {
            "IN_PV_1": f"{plate.temperature(now) - 0.8:.1f} 1",
            "IN_PV_2": f"{plate.temperature(now):.1f} 2",
            "IN_PV_4": f"{plate.speed(now):.1f} 4",
            "IN_SP_1": f"{plate.set_degc:.1f} 1",
            "IN_SP_3": "360.0 3",
            "IN_SP_4": f"{plate.set_rpm:.1f} 4",
        }
        return values.get(text)

    def _obey(self, text: str) -> bool:
        plate, now = self.world.plate, self.now
        self.world.age_plate(now)
        if match := SET.match(text):
            value = float(match[2])
            if not 0 <= value <= HIGHEST[match[1]]:
                return False
            if match[1] == "1":
                plate.heat(now, on=plate.heating, set_degc=value)
            else:
                plate.stir(now, on=plate.stirring, set_rpm=value)
        elif text in ("START_1", "STOP_1"):
            plate.heat(now, on=text == "START_1", set_degc=plate.set_degc)
        elif text in ("START_4", "STOP_4"):
            on = text == "START_4" and not self.faults.take("stall")
            plate.stir(now, on=on, set_rpm=plate.set_rpm)
        elif text == "RESET":
            self.power_on()
        else:
            return False
        return True

    def power_on(self) -> None:
        """Heater and motor off."""
        now, plate = self.now, self.world.plate
        self.world.age_plate(now)
        plate.heat(now, on=False, set_degc=plate.set_degc)
        plate.stir(now, on=False, set_rpm=plate.set_rpm)
