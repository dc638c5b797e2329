"""Robot arm that carries vials and cuvettes: plain line protocol.

Verbs: ``HOME``, ``PICK <place>``, ``PLACE <place>``; ``STATUS`` adds ``homed``, ``holding`` (the vessel in
the gripper or ``-``) and ``at``. Refusals: ``not_homed``, ``empty``, ``occupied``, ``gripper_full``,
``gripper_empty``, ``no_place``, ``closed``, ``collision``, ``busy``.
"""

from __future__ import annotations

from modules.drivers.line import LineDevice

MOTION_LIMIT_S = 180.0


class RobotArm(LineDevice):
    """The arm. One device, whoever uses it; see `modules.drivers.layout` for the names of places."""

    model = "octolab-arm"

    def home(self) -> None:
        """Find the joints' zero. Keeps what is in the gripper.

        Raises
        ------
        DeviceError
        """
        self._move("HOME", limit=MOTION_LIMIT_S)

    def pick(self, place: str) -> None:
        """Grip the vessel at a place.

        Raises
        ------
        Refused
            Code ``empty``: nothing there; ``gripper_full``; ``closed``: the storage's line is shut;
            ``collision``.
        DeviceError
        """
        self._move("PICK", place, limit=MOTION_LIMIT_S)

    def place(self, place: str) -> None:
        """Put the vessel down at a place.

        Raises
        ------
        Refused
            Code ``occupied``, ``gripper_empty``, ``closed`` or ``collision``.
        DeviceError
        """
        self._move("PLACE", place, limit=MOTION_LIMIT_S)

    def transfer(self, source: str, target: str) -> None:
        """Pick at ``source`` and place at ``target``."""
        self.pick(source)
        self.place(target)

    def holding(self) -> bool:
        """Return whether there is something in the gripper."""
        return self._query("STATUS").get("holding", "-") != "-"
