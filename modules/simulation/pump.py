"""A simulated Cavro syringe pump, one of up to 15 on a bus."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modules.simulation.cutters import ETX, STX, BlockCutter, Cutter
from modules.simulation.instrument import Motion, SimulatedInstrument
from modules.simulation.world import PARKED

if TYPE_CHECKING:
    from modules.simulation.lab import SimulatedLab

STROKE = 3000
VALVE_S = 0.25
INITIALIZE_S = 6.0
SEGMENT = re.compile(r"([A-Z])(\d*)")
MOVES = set("ZAPDIO")
NOT_INITIALIZED, OVERFLOW, BAD_COMMAND, BAD_OPERAND = 7, 15, 2, 3
CONCENTRATIONS_MM = {"citrate": 20.0, "h2o2": 375.0, "nabh4": 10.0, "agno3": 1.25}
RESERVOIR_UL = 1_000_000.0


class SimulatedPump(SimulatedInstrument):
    """Draws from its reservoir; what it pushes out lands under the nozzle, wherever that is.

    Settings: ``bus_address``, ``syringe_ul``, ``solution`` (its species; by default the id behind ``pump_``),
    ``concentration_mm``, ``reservoir_ul``.
    """

    def __init__(self, lab: SimulatedLab, section: Mapping[str, Any]) -> None:
        super().__init__(lab, section)
        settings = self.settings
        species = str(settings.get("solution", self.id.removeprefix("pump_"))).lower()
        concentration = float(settings.get("concentration_mm", CONCENTRATIONS_MM.get(species, 1.0)))
        self.address = int(settings.get("bus_address", 1))
        self.per_ul = STROKE / float(settings.get("syringe_ul", 1000.0))
        self.memory.update(
            position=0.0,
            valve="I",
            speed=1400,
            initialized=False,
            error=0,
            sequence=None,
            held_ul=0.0,
            reservoir_ul=float(settings.get("reservoir_ul", RESERVOIR_UL)),
        )
        self.species = species
        self.refill(self.memory["reservoir_ul"], concentration)
        self.world.before_nozzle_moves.append(self._settle)

    @classmethod
    def cutter(cls) -> Cutter:
        """Cavro blocks."""
        return BlockCutter()

    @classmethod
    def key_of(cls, command: bytes) -> str | None:
        """The address byte."""
        return chr(command[1])

    @property
    def bus_key(self) -> str | None:
        """The address byte."""
        return chr(0x30 + self.address)

    def refill(self, volume_ul: float, concentration_mm: float | None = None) -> None:
        """Fill the reservoir, as a person does."""
        if concentration_mm is not None:
            solution = f"{self.species} {concentration_mm:g} mM"
            self.world.solutions[solution] = (self.species, concentration_mm)
            self.memory["solution"] = solution
        self.memory["reservoir_ul"] = volume_ul

    # ------------------------------------------------------------------ blocks

    def execute(self, command: bytes) -> None:
        """Check a block, acknowledge a repeated one, carry out the others."""
        total = 0
        for byte in command[:-1]:
            total ^= byte
        if total != command[-1] or len(command) < 5:
            self.log(command, "", accepted=False, moves=False, fault="checksum")
            return
        sequence, repeated = command[2] & 0x07, bool(command[2] & 0x08)
        text = command[3:-2].decode("latin-1")
        moves = bool(MOVES & set(text)) and "R" in text
        if repeated and sequence == self.memory["sequence"]:
            self.log(command, text, accepted=True, moves=moves, executed=False)
            self._reply("")
            return
        self.memory["sequence"] = sequence
        code, data = self._obey(text)
        self.log(command, text, accepted=code == 0, moves=moves, **({"code": code} if code else {}))
        self._reply(data, code)

    def _reply(self, data: str, code: int | None = None) -> None:
        error = self.memory["error"] if code is None else code
        if not error and not self.memory["initialized"] and not self.moving:
            error = NOT_INITIALIZED
        status = 0x40 | (0 if self.moving else 0x20) | error
        block = bytes([STX, 0x30, status]) + data.encode("latin-1") + bytes([ETX])
        total = 0
        for byte in block:
            total ^= byte
        self.answer(b"\xff" + block + bytes([total]))

    def _obey(self, text: str) -> tuple[int, str]:
        memory = self.memory
        if text == "Q":
            return memory["error"], ""
        if text in ("?", "?0"):
            return 0, str(round(self._position()))
        if text == "&":
            return 0, "P/N:20733-octolab Rev 1"
        if text in ("T", "TR"):
            self.halt()
            return 0, ""
        words = SEGMENT.findall(text)
        if not words or "".join(letter + number for letter, number in words) != text or words[-1][0] != "R":
            return BAD_COMMAND, ""
        if self.moving:
            return OVERFLOW, ""
        memory["error"] = 0
        program = [[letter, int(number or 0)] for letter, number in words[:-1]]
        return self._load(program), ""

    def _load(self, program: list[list[Any]]) -> int:
        for letter, number in program:
            if letter not in "ZVAPDIOM":
                return BAD_COMMAND
            if (letter == "V" and not 5 <= number <= 5800) or (letter in "APD" and number > STROKE):
                return BAD_OPERAND
        if not self.memory["initialized"] and program[:1] != [["Z", 0]]:
            return NOT_INITIALIZED
        self._next(program)
        return 0

    # ------------------------------------------------------------------ plunger and valve

    def _next(self, program: list[list[Any]]) -> None:
        while program:
            (letter, number), program = program[0], program[1:]
            position = self.memory["position"]
            if letter == "V":
                self.memory["speed"] = number
            elif letter in "IO":
                turn = VALVE_S if self.memory["valve"] != letter else 0.0
                self.begin("VALVE", turn, to=letter, program=program)
                return
            elif letter == "M":
                self.begin("DELAY", number / 1000, program=program)
                return
            elif letter == "Z":
                self.memory["valve"] = "O"
                self.begin("INITIALIZE", INITIALIZE_S, start=position, to=0, program=program)
                return
            else:
                to = {"A": number, "P": position + number, "D": position - number}[letter]
                if not 0 <= to <= STROKE:
                    self.memory["error"] = BAD_OPERAND
                    return
                seconds = 2 * abs(to - position) / self.memory["speed"]
                self.begin("PLUNGER", seconds, start=position, to=to, program=program)
                return

    def _position(self) -> float:
        motion = self.motion
        if motion is None or "start" not in motion.details:
            return float(self.memory["position"])
        start = motion.details["start"]
        return float(start + motion.fraction(self.now) * (motion.details["to"] - start))

    def _settle(self) -> None:
        """Let what has left the syringe so far fall where the nozzle is now: it is about to move."""
        if self.motion is not None:
            self._push_to(self._position())

    def _push_to(self, position: float) -> None:
        memory = self.memory
        volume = (position - memory["position"]) / self.per_ul
        memory["position"] = position
        if memory["valve"] == "I":
            drawn = min(volume, memory["reservoir_ul"])
            if volume - drawn > 0.01 / self.per_ul:
                self.incident("reservoir_empty", f"drew {volume - drawn:.0f} µL of air")
            memory["reservoir_ul"] -= drawn
            memory["held_ul"] += drawn
        elif volume < 0 and memory["held_ul"] > 0:
            pushed = min(-volume, memory["held_ul"])
            memory["held_ul"] -= pushed
            self._pour(pushed)

    def _pour(self, volume_ul: float) -> None:
        place = self.world.nozzle
        where = "" if place == PARKED else place
        spilled = self.world.pour(where, self.memory["solution"], volume_ul, self.now)
        if spilled > 1e-6:
            where = f"at {where}" if where else "on the deck"
            self.incident("spill", f"{spilled:.1f} µL of {self.memory['solution']} fell {where}")

    def finish(self, motion: Motion) -> None:
        """The segment is done: go on with the next."""
        details = motion.details
        if motion.verb == "VALVE":
            self.memory["valve"] = details["to"]
        elif "start" in details:
            self._push_to(float(details["to"]))
        if motion.verb == "INITIALIZE":
            self.memory["initialized"] = True
        self._next(details["program"])

    def interrupt(self, motion: Motion) -> None:
        """Stop where the plunger is."""
        if "start" in motion.details:
            start = motion.details["start"]
            self._push_to(start + motion.fraction(self.now) * (motion.details["to"] - start))

    def power_on(self) -> None:
        """Forget zero, speed and the last sequence number."""
        self.memory.update(initialized=False, error=0, sequence=None, speed=1400)
