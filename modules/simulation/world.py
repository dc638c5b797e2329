"""The physical world: which vessel stands where, what is in it, who is in whose way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from modules.drivers.layout import CUVETTE_SLOTS, LINE_POSITIONS, STIRRER_SLOTS, STORAGE_LINES
from modules.simulation.chemistry import Recipe
from modules.simulation.plate import Plate
from modules.simulation.vessels import ROOM_DEGC, Vessel

VIAL_UL = 20_000.0
CUVETTE_UL = 3_500.0
PARKED = "parked"

ZONES = {
    "stirrer": "batch",
    "vial_storage": "storage",
    "vial_holder": "uv",
    "cuvette": "uv",
    "cuvette_holder": "uv",
    "spectrometer": "uv",
}
VESSEL_FOR = {
    "stirrer": "vial",
    "vial_storage": "vial",
    "vial_holder": "vial",
    "cuvette": "cuvette",
    "cuvette_holder": "cuvette",
    "spectrometer": "cuvette",
}


WORDS = {"vial_slot": "stirrer", "cuvette_slot": "cuvette", "cuvette_position": "spectrometer"}
"""The modules' word for a kind of place → the world's, where they differ."""


def kind_of(place: str) -> str:
    """Return the first word of a place's name: ``"stirrer"`` of ``"stirrer.3"``."""
    return place.split(".", 1)[0]


@dataclass
class World:
    """Everything that is true, whatever the instruments say.

    Attributes
    ----------
    places : set of str
        All names at which a vessel can stand.
    standing : dict of str to Vessel
        What stands where; a vessel in the gripper is at ``"gripper"``.
    solutions : dict of str to (str, float)
        Species and concentration in mM of each solution.
    plate : Plate
        Hotplate and stirrer under the stirrer's slots.
    nozzle : str
        Place under the dispensing nozzle, ``"parked"`` (out of the way), or empty: over the deck, or on the
        move.
    pipette : str
        ``"parked"`` or anything else.
    open_line : int
        The storage's open line, 0 for none.
    spilled_ul : float
        What landed on the deck.
    incidents : int
        How often something happened that must not.
    """

    places: set[str] = field(default_factory=set)
    standing: dict[str, Vessel] = field(default_factory=dict)
    solutions: dict[str, tuple[str, float]] = field(default_factory=dict)
    plate: Plate = field(default_factory=Plate)
    nozzle: str = PARKED
    pipette: str = PARKED
    open_line: int = 0
    spilled_ul: float = 0.0
    incidents: int = 0
    claims: dict[str, set[str]] = field(default_factory=dict)
    before_nozzle_moves: list[Callable[[], None]] = field(default_factory=list)

    @classmethod
    def shipped(
        cls,
        *,
        lines: int = STORAGE_LINES,
        positions: int = LINE_POSITIONS,
        stirrer_slots: int = STIRRER_SLOTS,
        cuvettes: int = CUVETTE_SLOTS,
    ) -> World:
        """Return the shipped lab in the morning: storage full of empty vials, clean cuvettes in their
        slots."""
        world = cls()
        storage = [f"vial_storage.{line}.{spot}" for line in range(1, lines + 1) for spot in range(1, positions + 1)]
        racks = [f"cuvette.{slot}" for slot in range(1, cuvettes + 1)]
        slots = [f"stirrer.{slot}" for slot in range(1, stirrer_slots + 1)]
        world.places = {*storage, *slots, *racks, "vial_holder", "cuvette_holder", "spectrometer"}
        for place in (*storage, *racks):
            world.new_vessel(place)
        return world

    # ------------------------------------------------------------------ vessels

    def new_vessel(self, place: str, now: float = 0.0) -> Vessel:
        """Put a fresh empty vessel at a place, as a person does who fills a rack."""
        kind = VESSEL_FOR[kind_of(place)]
        capacity = VIAL_UL if kind == "vial" else CUVETTE_UL
        name = f"{kind}-{place.split('.', 1)[1] if '.' in place else place}"
        self.standing[place] = Vessel(name, kind, capacity, aged_at=now)
        return self.standing[place]

    def collect(self, named: str, now: float) -> None:
        """Take away what stands at a place, by its name in the lab (``batch_synthesis.vial_slot.4``).

        As a lab's people do, a fresh vessel comes in its stead where vessels are stored.

        Raises
        ------
        ValueError
            There is no such place in this world.
        """
        *_, word, number = ("", *named.split("."))
        word = WORDS.get(word, word)
        place = next((place for place in (named, f"{word}.{number}", word) if place in self.places), None)
        if place is None:
            raise ValueError(f"there is no place {named}")
        if kind_of(place) in ("vial_storage", "cuvette"):
            self.new_vessel(place, now)
        else:
            self.standing.pop(place, None)

    def move(self, source: str, target: str, now: float) -> None:
        """Move the vessel from one place to another; either may be ``"gripper"``."""
        vessel = self.standing[source]
        self.age(source, now)
        self.standing[target] = self.standing.pop(source)
        if kind_of(target) == "cuvette":
            vessel.empty(now)  # the cuvette rack drains and rinses what is put back

    def age(self, place: str, now: float) -> None:
        """Bring the reaction at a place up to now."""
        if (vessel := self.standing.get(place)) is None:
            return
        if kind_of(place) == "stirrer":
            vessel.age(now, self.plate.temperature, self.plate.speed(now) > 0)
        else:
            vessel.age(now, lambda when: ROOM_DEGC, False)

    def age_plate(self, now: float) -> None:
        """Bring all vessels on the plate up to now: heat or stirring is about to change."""
        for place in [place for place in self.standing if kind_of(place) == "stirrer"]:
            self.age(place, now)

    # ------------------------------------------------------------------ liquids

    def pour(self, place: str, solution: str, volume_ul: float, now: float) -> float:
        """Let a liquid fall at a place; return what was spilled, in µL."""
        self.age(place, now)
        vessel = self.standing.get(place)
        spilled = vessel.add(solution, volume_ul) if vessel else volume_ul
        if vessel:
            vessel.restart(now)
        self.spilled_ul += spilled
        return spilled

    def sample(self, place: str, volume_ul: float, now: float) -> Vessel:
        """Take a sample out of the vessel at a place, with its history; empty if there is none."""
        self.age(place, now)
        vessel = self.standing.get(place)
        if vessel is None:
            return Vessel("tip", "tip", volume_ul, aged_at=now)
        portions = vessel.take(volume_ul)
        return Vessel("tip", "tip", volume_ul, portions, vessel.dose, vessel.elapsed_s, vessel.stirred_s, now)

    def deliver(self, place: str, sample: Vessel, now: float) -> float:
        """Put a sample, with its history, into the vessel at a place; return what was spilled, in µL."""
        self.age(place, now)
        vessel = self.standing.get(place)
        if vessel is None:
            self.spilled_ul += sample.volume_ul
            return sample.volume_ul
        before, coming = vessel.volume_ul, sample.volume_ul
        spilled = sum(vessel.add(name, volume) for name, volume in sample.portions.items())
        if before + coming > 0:
            share = coming / (before + coming)
            for key in ("dose", "elapsed_s", "stirred_s"):
                setattr(vessel, key, (1 - share) * getattr(vessel, key) + share * getattr(sample, key))
        self.spilled_ul += spilled
        return spilled

    def recipe(self, place: str, now: float) -> Recipe:
        """Return what is really in the vessel at a place."""
        self.age(place, now)
        vessel = self.standing.get(place)
        if vessel is None:
            return Recipe()
        amounts: dict[str, float] = {}
        for name, volume in vessel.portions.items():
            species, millimolar = self.solutions[name]
            amounts[species] = amounts.get(species, 0.0) + volume * millimolar / 1000.0
        evenness = vessel.stirred_s / vessel.elapsed_s if vessel.elapsed_s else 0.0
        return Recipe(amounts, vessel.volume_ul, vessel.dose, evenness)

    # ------------------------------------------------------------------ who is in whose way

    def conflict(self, instrument: str, zones: set[str]) -> str | None:
        """Return which other instrument moves in one of these zones, if any."""
        for other, theirs in self.claims.items():
            if other != instrument and zones & theirs:
                return other
        return None

    # ------------------------------------------------------------------ snapshots

    def snapshot(self) -> dict[str, Any]:
        """Return the world as plain values."""
        return {
            "standing": {place: asdict(vessel) for place, vessel in self.standing.items()},
            "solutions": {name: list(value) for name, value in self.solutions.items()},
            "plate": asdict(self.plate),
            "nozzle": self.nozzle,
            "pipette": self.pipette,
            "open_line": self.open_line,
            "spilled_ul": self.spilled_ul,
            "incidents": self.incidents,
            "claims": {name: sorted(zones) for name, zones in self.claims.items()},
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Become what a snapshot says."""
        self.standing = {place: Vessel(**vessel) for place, vessel in saved["standing"].items()}
        self.solutions.update({name: (value[0], value[1]) for name, value in saved["solutions"].items()})
        self.plate = Plate(**saved["plate"])
        self.claims = {name: set(zones) for name, zones in saved["claims"].items()}
        for key in ("nozzle", "pipette", "open_line", "spilled_ul", "incidents"):
            setattr(self, key, saved[key])
