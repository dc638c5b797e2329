"""Names and taught positions of the shipped lab's places.

``vial_storage.<line>.<position>``, ``stirrer.<slot>``, ``vial_holder``, ``cuvette.<slot>``,
``cuvette_holder`` and ``spectrometer``. The coordinates are where the axis and the pipette of this platform
were taught; another platform gives its own as a device setting.
"""

from __future__ import annotations

STIRRER_SLOTS = 8
CUVETTE_SLOTS = 8
STORAGE_LINES = 6
LINE_POSITIONS = 10

AXIS_CENTER_MM = 250.0
AXIS_UP_MM = 0.0
AXIS_DOWN_MM = -40.0

AXIS_MM: dict[str, float] = {f"stirrer.{slot}": 10.0 + 25.0 * slot for slot in range(1, STIRRER_SLOTS + 1)}
"""Where the nozzle stands above each slot, in mm along X."""

PIPETTE_MM: dict[str, tuple[float, float, float]] = {
    "park": (200.0, 0.0, 150.0),
    "tips": (150.0, 120.0, 40.0),
    "vial_holder": (220.0, -80.0, 30.0),
    "cuvette_holder": (240.0, 40.0, 35.0),
    "spectrometer": (260.0, 90.0, 35.0),
}
"""Where the pipette's tip touches each place: X, Y, Z in mm."""

PIPETTE_CLEARANCE_MM = 150.0
"""The height at which the pipette travels."""
