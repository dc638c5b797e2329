"""The simulated pipette: a uArm Swift Pro with a plunger on its hand servo."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from modules.drivers.layout import PIPETTE_MM
from modules.simulation.instrument import Motion, SimulatedInstrument
from modules.simulation.vessels import Vessel
from modules.simulation.world import PARKED

if TYPE_CHECKING:
    from modules.simulation.lab import SimulatedLab

LINE = re.compile(r"^(?:#(\d+) )?([GMP]\d+)((?: [A-Z]-?[\d.]+)*)$")
# measured: 81.2 s for a sample, which is nine moves, two plunger strokes and two of the ejector
MOVE_S, PLUNGER_S, EJECT_S = 7.0, 6.0, 3.1
REACH_MM = 2.0
FULL_ANGLE = 180.0
TIPS = 96


class SimulatedPipette(SimulatedInstrument):
    """Moves, draws and delivers; its tip holds what it really drew.

    Settings: ``capacity_ul``, ``places``, ``tips`` (how many are in the rack).
    """

    def __init__(self, lab: SimulatedLab, section: Mapping[str, Any]) -> None:
        super().__init__(lab, section)
        self.places = {name: tuple(where) for name, where in self.settings.get("places", PIPETTE_MM).items()}
        self.capacity = float(self.settings.get("capacity_ul", 1000.0))
        x, y, z = self.places["park"]
        self.memory.update(X=x, Y=y, Z=z, angle=0.0, attached=True, tip=None, tips=int(self.settings.get("tips", TIPS)))

    def execute(self, command: bytes) -> None:
        """Carry out a line of G-code."""
        match = LINE.match(command.decode("latin-1"))
        if match is None:
            self.log(command, "", accepted=False, moves=False)
            self.answer(b"E20\n")
            return
        number, code, rest = match[1] or "", match[2], match[3]
        words = {word[0]: float(word[1:]) for word in rest.split()}
        moves = code in ("G0", "G2202", "M17", "M2232")
        verdict = self._obey(code, words)
        self.log(command, code, accepted=verdict.startswith("ok"), moves=moves)
        self.answer(f"${number} {verdict}\n".encode())

    def _obey(self, code: str, words: dict[str, float]) -> str:
        memory = self.memory
        if code == "P2201":
            return "ok SwiftPro"
        if code == "M2200":
            return f"ok V{int(self.moving)}"
        if code == "P2220":
            return "ok " + " ".join(f"{axis}{memory[axis]:.2f}" for axis in "XYZ")
        if code == "M2019":
            self.halt()
            memory["attached"] = False
            return "ok"
        if code == "M17":
            memory["attached"] = True
            return "ok"
        if code not in ("G0", "G2202", "M2232"):
            return "E20"
        return self._start(code, words)

    def _start(self, code: str, words: dict[str, float]) -> str:
        needed = {"G0": "XYZ", "G2202": "NV", "M2232": "V"}[code]
        if any(letter not in words for letter in needed):
            return "E21"
        if code == "G2202" and not (words["N"] == 3 and 0 <= words["V"] <= FULL_ANGLE):
            return "E22"
        if self.moving:
            return "E23"
        if not self.memory["attached"]:
            return "E25"
        if other := self.claim("uv"):
            self.incident("collision", f"moved while {other} was at work there")
            return "E25"
        seconds = {"G0": MOVE_S, "G2202": PLUNGER_S, "M2232": EJECT_S}[code]
        self.world.pipette = ""
        self.begin(code, seconds, **words)
        return "ok"

    # ------------------------------------------------------------------ what it does to the world

    def finish(self, motion: Motion) -> None:
        """Stand there; draw, deliver or drop the tip."""
        words = motion.details
        if motion.verb == "G0":
            self.memory.update(X=words["X"], Y=words["Y"], Z=words["Z"])
            if self._touching() == "tips":
                self._take_tip()
        elif motion.verb == "G2202":
            self._plunge(words["V"])
        elif words["V"]:
            self._eject()
        self._look()

    def interrupt(self, motion: Motion) -> None:
        """Hang somewhere on the way."""
        if motion.verb == "G0":
            done = motion.fraction(self.now)
            for axis in "XYZ":
                self.memory[axis] += done * (motion.details[axis] - self.memory[axis])
        elif motion.verb == "G2202":
            angle = self.memory["angle"]
            self._plunge(angle + motion.fraction(self.now) * (motion.details["V"] - angle))
        self._look()

    def power_on(self) -> None:
        """Motors hold again."""
        self.memory["attached"] = True

    def put_aside(self) -> None:
        """Parked, without a tip."""
        x, y, z = self.places["park"]
        self.memory.update(X=x, Y=y, Z=z, angle=0.0, attached=True, tip=None)
        self._look()

    def _look(self) -> None:
        self.world.pipette = PARKED if self._touching() == "park" else self._touching()

    def _touching(self) -> str:
        here = (self.memory["X"], self.memory["Y"], self.memory["Z"])
        for name, where in self.places.items():
            if all(abs(a - b) <= REACH_MM for a, b in zip(here, where, strict=True)):
                return name
        return ""

    def _take_tip(self) -> None:
        if self.memory["tip"] is not None:
            self.incident("tip", "took a tip on top of another")
        elif self.memory["tips"] <= 0:
            self.incident("tip", "the tip rack is empty")
        else:
            self.memory["tips"] -= 1
            self.memory["tip"] = asdict(Vessel("tip", "tip", self.capacity))

    def _plunge(self, angle: float) -> None:
        volume = (angle - self.memory["angle"]) * self.capacity / FULL_ANGLE
        self.memory["angle"] = angle
        if self.memory["tip"] is None:
            if volume > 0:
                self.incident("tip", "drew without a tip")
            return
        tip = Vessel(**self.memory["tip"])
        place = self._touching()
        if volume > 0:
            drawn = self.world.sample(place, volume, self.now)
            if drawn.volume_ul < 0.99 * volume:
                self.incident("air", f"drew {volume - drawn.volume_ul:.0f} µL of air at {place or 'nowhere'}")
            self.memory["tip"] = asdict(drawn)
        elif tip.volume_ul > 0:
            share = min(1.0, -volume / self.capacity / max(1e-9, (angle - volume) / FULL_ANGLE)) if angle else 1.0
            out = Vessel("tip", "tip", tip.capacity_ul, tip.take(share * tip.volume_ul))
            out.dose, out.elapsed_s, out.stirred_s = tip.dose, tip.elapsed_s, tip.stirred_s
            if (spilled := self.world.deliver(place, out, self.now)) > 1e-6:
                self.incident("spill", f"{spilled:.0f} µL fell from the pipette at {place or 'nowhere'}")
            self.memory["tip"] = asdict(tip)

    def _eject(self) -> None:
        if self.memory["tip"] is None:
            self.incident("tip", "ejected no tip")
        self.memory["tip"] = None
