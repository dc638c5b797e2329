"""What an instrument can do, whoever made it.

Module code asks for an ability, never for a maker. All methods block until the instrument is done, and raise
`modules.drivers.errors.DeviceError`.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class Pump(Protocol):
    """Delivers one liquid."""

    def initialize(self) -> None:
        """Find the mechanical zero; needed once after power-on."""
        ...

    def dispense(self, volume_ul: float, rate_ul_s: float) -> float:
        """Deliver a volume and return what was delivered, in µL, e.g. ``1199.7``."""
        ...


@runtime_checkable
class Stirrer(Protocol):
    """Stirs."""

    def stir(self, speed_rpm: float) -> None:
        """Stir at a speed; 0 stops."""
        ...

    def speed(self) -> float:
        """Return the measured speed in rpm."""
        ...


@runtime_checkable
class Heater(Protocol):
    """Heats."""

    def heat(self, temperature_degc: float) -> None:
        """Hold a temperature; returns when it is set, not when it is reached."""
        ...

    def stop_heating(self) -> None:
        """Switch the heater off."""
        ...

    def temperature(self) -> float:
        """Return the measured temperature in °C."""
        ...


@runtime_checkable
class Axis(Protocol):
    """Moves a tool along named positions."""

    def home(self) -> None:
        """Find the limit switches."""
        ...

    def down_to(self, place: str) -> None:
        """Go above a place, e.g. ``"stirrer.3"``, and lower the tool."""
        ...

    def up(self) -> None:
        """Raise the tool."""
        ...

    def center(self) -> None:
        """Raise the tool and go where it is in nobody's way."""
        ...


@runtime_checkable
class Arm(Protocol):
    """Carries vessels between named places."""

    def home(self) -> None:
        """Find the joints' zero."""
        ...

    def pick(self, place: str) -> None:
        """Grip the vessel at a place, e.g. ``"vial_storage.1.4"``."""
        ...

    def place(self, place: str) -> None:
        """Put the vessel in the gripper down at a place."""
        ...

    def transfer(self, source: str, target: str) -> None:
        """Pick and place."""
        ...


@runtime_checkable
class Storage(Protocol):
    """Keeps vessels in lines that open one at a time."""

    def open_line(self, line: int) -> None:
        """Bring a line (1 …) to where the arm reaches it; an open one closes."""
        ...

    def close_line(self) -> None:
        """Close whatever is open."""
        ...


@runtime_checkable
class Pipette(Protocol):
    """Carries small volumes between named places."""

    def home(self) -> None:
        """Go to the parking position."""
        ...

    def sample(self, source: str, target: str, volume_ul: float) -> None:
        """Carry a volume with a fresh tip and throw the tip away."""
        ...


@runtime_checkable
class Spectrometer(Protocol):
    """Measures spectra of what stands in its beam."""

    @property
    def wavelengths(self) -> NDArray[np.float64]:
        """The wavelength of each pixel in nm, shape ``(n,)``."""
        ...

    def dark(self) -> NDArray[np.float64]:
        """Measure with the shutter closed and keep it; counts, shape ``(n,)``."""
        ...

    def reference(self) -> NDArray[np.float64]:
        """Measure the blank and keep it; counts, shape ``(n,)``."""
        ...

    def absorbance(self) -> NDArray[np.float64]:
        """Measure the sample; absorbance against the kept reference, shape ``(n,)``."""
        ...
