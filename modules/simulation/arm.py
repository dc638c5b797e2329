"""The simulated robot arm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modules.simulation.instrument import LineInstrument, Motion, Refusal
from modules.simulation.world import PARKED, VESSEL_FOR, ZONES, kind_of

if TYPE_CHECKING:
    from modules.simulation.lab import SimulatedLab

GRIPPER = "gripper"
HOME_S = 20.0
PICK_S = 12.0
OTHERWISE_S = 30.0
# measured on the platform, in s for pick and place together; the kinds of place are from and to
MEASURED_S = {
    ("vial_storage", "stirrer"): 30.6,
    ("stirrer", "vial_holder"): 29.7,
    ("vial_holder", "vial_storage"): 34.0,
    ("stirrer", "vial_storage"): 36.6,
    ("vial_storage", "vial_holder"): 36.6,
    ("cuvette", "cuvette_holder"): 22.3,
    ("cuvette_holder", "spectrometer"): 21.6,
    ("spectrometer", "cuvette"): 22.2,
}


class SimulatedArm(LineInstrument):
    """Carries vessels; refuses what would break something, and has it written down as an incident."""

    model = "octolab-arm"

    def __init__(self, lab: SimulatedLab, section: Mapping[str, Any]) -> None:
        super().__init__(lab, section)
        self.memory.update(homed=False, at="rest", came_from="")
        self.verbs |= {"HOME": (self.home, True), "PICK": (self.pick, True), "PLACE": (self.place, True)}

    def status(self) -> dict[str, Any]:
        """Add whether it is homed, what it holds and where it is."""
        vessel = self.world.standing.get(GRIPPER)
        memory = self.memory
        return super().status() | {
            "homed": int(memory["homed"]),
            "holding": vessel.id if vessel else "-",
            "at": memory["at"],
        }

    def home(self) -> dict[str, Any]:
        """``HOME``."""
        self._claim("arm")
        self.begin("HOME", HOME_S)
        return {}

    def pick(self, place: str) -> dict[str, Any]:
        """``PICK <place>``."""
        self._check(place)
        if GRIPPER in self.world.standing:
            raise Refusal("gripper_full", "there is something in the gripper", incident=True)
        if place not in self.world.standing:
            raise Refusal("empty", f"nothing stands at {place}", incident=True)
        self._claim("arm", ZONES[kind_of(place)])
        self.begin("PICK", PICK_S, place=place)
        return {}

    def place(self, place: str) -> dict[str, Any]:
        """``PLACE <place>``."""
        self._check(place)
        vessel = self.world.standing.get(GRIPPER)
        if vessel is None:
            raise Refusal("gripper_empty", "there is nothing in the gripper", incident=True)
        if place in self.world.standing:
            raise Refusal("occupied", f"{self.world.standing[place].id} stands at {place}", incident=True)
        if VESSEL_FOR[kind_of(place)] != vessel.kind:
            raise Refusal("no_fit", f"a {vessel.kind} does not fit at {place}", incident=True)
        self._claim("arm", ZONES[kind_of(place)])
        route = (kind_of(self.memory["came_from"]), kind_of(place))
        self.begin("PLACE", MEASURED_S.get(route, OTHERWISE_S) - PICK_S, place=place)
        return {}

    def finish(self, motion: Motion) -> None:
        """Move the vessel, or be homed."""
        super().finish(motion)
        place = motion.details.get("place", "rest")
        if motion.verb == "HOME":
            self.memory["homed"] = True
        elif motion.verb == "PICK":
            self.world.move(place, GRIPPER, self.now)
            self.memory["came_from"] = place
        else:
            self.world.move(GRIPPER, place, self.now)
        self.memory["at"] = place

    def interrupt(self, motion: Motion) -> None:
        """Stand still between two places; the gripper keeps what it had."""
        super().interrupt(motion)
        self.memory["at"] = "between"

    def power_on(self) -> None:
        """Joints lose their zero, the gripper holds."""
        super().power_on()
        self.memory["homed"] = False

    def put_aside(self) -> None:
        """The gripper is empty."""
        self.world.standing.pop(GRIPPER, None)
        self.memory["at"] = "rest"

    def _check(self, place: str) -> None:
        if not self.memory["homed"]:
            raise Refusal("not_homed", "home it first")
        if place not in self.world.places:
            raise Refusal("no_place", f"no place {place} was taught")
        kind = kind_of(place)
        if kind == "vial_storage" and self.world.open_line != int(place.split(".")[1]):
            raise Refusal("closed", f"the line of {place} is not open", incident=True)
        if kind == "stirrer" and self.world.nozzle != PARKED:
            raise Refusal("collision", f"the nozzle stands in the way of {place}", incident=True)
        if ZONES[kind] == "uv" and self.world.pipette != PARKED:
            raise Refusal("collision", f"the pipette stands in the way of {place}", incident=True)

    def _claim(self, *zones: str) -> None:
        if other := self.claim(*zones):
            raise Refusal("collision", f"{other} is at work there", incident=True)
