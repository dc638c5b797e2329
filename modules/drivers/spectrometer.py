"""UV-Vis spectrometer: plain line protocol with checked data blocks.

Verbs: ``SET <name> <value>`` (``integration_ms``, ``averages``, ``boxcar``), ``DARK``, ``REF``, ``MEASURE``
(each a "motion": accepted at once, ``STATUS`` shows the end), and ``DATA <name>`` with name ``wavelength``,
``dark``, ``reference`` or ``sample``, answered by ``<id> DATA <name> <count> <size> <crc32>`` LF and ``size``
bytes of little-endian float32; the CRC-32 (as in zip) of these bytes is given in eight hexadecimal digits.
"""

from __future__ import annotations

import re
import time
import zlib
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modules.drivers.clock import Clock
from modules.drivers.errors import BadReply, Refused, Timeout
from modules.drivers.framing import cut_lines_and_data
from modules.drivers.line import LineDevice
from modules.drivers.port import SerialPort
from modules.drivers.status import ThreadStatus
from modules.drivers.wire import Wire

Array = NDArray[np.float64]
HEADER = re.compile(rb"^\d+ DATA (\w+) (\d+) (\d+) ([0-9a-f]{8})\n")
MEASURE_LIMIT_S = 60.0
DATA_TIMEOUT_S = 2.0
TRIES = 3
LEAST_SIGNAL = 1e-4


@dataclass(frozen=True)
class Settings:
    """How it measures.

    Attributes
    ----------
    integration_ms : float
        Exposure of one scan in ms.
    averages : int
        Scans that are averaged.
    boxcar : int
        Pixels on either side over which the instrument smooths.
    """

    integration_ms: float = 20.0
    averages: int = 10
    boxcar: int = 0


def parse_data(message: bytes) -> tuple[str, Array]:
    """Return name and values of a data block.

    Raises
    ------
    ValueError
        The header, the size or the checksum is wrong.
    """
    if (header := HEADER.match(message)) is None:
        raise ValueError("no data header")
    body = message[header.end() :]
    if len(body) != int(header[3]) or len(body) != 4 * int(header[2]):
        raise ValueError(f"{len(body)} bytes instead of {int(header[3])}")
    if zlib.crc32(body) != int(header[4], 16):
        raise ValueError("wrong checksum")
    return header[1].decode(), np.frombuffer(body, dtype="<f4").astype(np.float64)


class UVVisSpectrometer(LineDevice):
    """The spectrometer; also Bluesky `Readable`, `Triggerable`, `Stageable` and `Configurable`.

    Parameters
    ----------
    name, port, clock
        See `SerialDevice`.
    integration_ms, averages, boxcar
        See `Settings`; written before each measurement if the instrument has others.
    """

    wire = Wire(baudrate=115200, cut=cut_lines_and_data)
    model = "octolab-uvvis"

    def __init__(
        self,
        name: str,
        port: SerialPort,
        *,
        clock: Clock | None = None,
        integration_ms: float = 20.0,
        averages: int = 10,
        boxcar: int = 0,
    ) -> None:
        super().__init__(name, port, clock=clock)
        self.settings = Settings(integration_ms, averages, boxcar)
        self._wavelengths: Array | None = None
        self._latest: tuple[Array, float] | None = None

    # ------------------------------------------------------------------ what it can do

    @property
    def wavelengths(self) -> Array:
        """The wavelength of each pixel in nm, shape ``(n,)``; asked once."""
        if self._wavelengths is None:
            self._wavelengths = self._data("wavelength")
        return self._wavelengths

    def configure(
        self, *, integration_ms: float | None = None, averages: int | None = None, boxcar: int | None = None
    ) -> None:
        """Change settings; what is not given stays. Takes effect with the next measurement."""
        now = self.settings
        self.settings = Settings(
            now.integration_ms if integration_ms is None else integration_ms,
            now.averages if averages is None else averages,
            now.boxcar if boxcar is None else boxcar,
        )

    def dark(self) -> Array:
        """Measure with the shutter closed; counts, shape ``(n,)``. The instrument keeps it.

        Raises
        ------
        DeviceError
        """
        return self._measure("DARK", "dark")

    def reference(self) -> Array:
        """Measure the blank that stands in the beam; counts, shape ``(n,)``. The instrument keeps it.

        Raises
        ------
        DeviceError
        """
        return self._measure("REF", "reference")

    def counts(self) -> Array:
        """Measure what stands in the beam; counts, shape ``(n,)``.

        Raises
        ------
        DeviceError
        """
        return self._measure("MEASURE", "sample")

    def absorbance(self) -> Array:
        """Measure the sample against the kept dark and reference.

        Returns
        -------
        numpy.ndarray
            Decadic absorbance, shape ``(n,)``; at most 4, where hardly any light is left.

        Raises
        ------
        Refused
            Code ``no_reference``: measure the blank first.
        DeviceError
        """
        sample = self.counts()
        dark, reference = self._data("dark"), self._data("reference")
        light = (sample - dark) / np.maximum(reference - dark, 1.0)
        return -np.log10(np.maximum(light, LEAST_SIGNAL))

    def _measure(self, verb: str, name: str) -> Array:
        for key, value in vars(self.settings).items():
            self._command("SET", key, f"{value:g}", moves=False, stop=self._stop)
        self._move(verb, limit=MEASURE_LIMIT_S)
        return self._data(name)

    def _data(self, name: str) -> Array:
        """Fetch a block; a damaged or lost one is asked for again."""
        problem = ""
        for _ in range(TRIES):
            number = self._new_id()
            line = f"{number} DATA {name}"
            prefix = f"{number} ".encode()
            try:
                message = self._ask(line.encode() + b"\n", partial(_begins, prefix), timeout=DATA_TIMEOUT_S)
            except (Timeout, BadReply) as error:
                problem = error.problem
                continue
            if message.startswith(prefix + b"ERR"):
                code, _, text = message[len(prefix) + 4 :].decode("utf-8", "replace").partition(" ")
                raise Refused(self.name, f"refused: {text or code}", code=code, command=line)
            try:
                got, values = parse_data(message)
            except ValueError as error:
                problem = str(error)
                continue
            if got == name:
                return values
            problem = f"sent {got!r}"
        raise BadReply(self.name, f"gave no sound {name} block in {TRIES} tries: {problem}", command=f"DATA {name}")

    # ------------------------------------------------------------------ Bluesky

    def stage(self) -> list[Any]:
        """Fetch the wavelengths, so that `describe` knows the shape."""
        _ = self.wavelengths
        return [self]

    def unstage(self) -> list[Any]:
        """Nothing to undo."""
        return [self]

    def trigger(self) -> ThreadStatus:
        """Measure a spectrum in the background."""

        def measure() -> None:
            self._latest = (self.absorbance(), time.time())

        return ThreadStatus(measure, f"{self.name} trigger")

    def read(self) -> dict[str, Any]:
        """Return the spectrum of the last `trigger`; raises `RuntimeError` before the first."""
        if self._latest is None:
            raise RuntimeError(f"{self.name}: nothing was measured yet; trigger it first")
        values, when = self._latest
        return {f"{self.name}_absorbance": {"value": values, "timestamp": when}}

    def describe(self) -> dict[str, Any]:
        """Describe what `read` returns."""
        return {
            f"{self.name}_absorbance": {
                "source": self.port.address,
                "dtype": "array",
                "dtype_numpy": "<f8",
                "shape": [len(self.wavelengths)],
                "units": "",
            }
        }

    def read_configuration(self) -> dict[str, Any]:
        """Return settings and wavelengths (nm)."""
        now = time.time()
        values: dict[str, Any] = dict(vars(self.settings)) | {"wavelength": self.wavelengths}
        return {f"{self.name}_{key}": {"value": value, "timestamp": now} for key, value in values.items()}

    def describe_configuration(self) -> dict[str, Any]:
        """Describe what `read_configuration` returns."""
        source = self.port.address
        keys: dict[str, Any] = {
            f"{self.name}_{key}": {"source": source, "dtype": kind, "shape": [], "units": units}
            for key, kind, units in (
                ("integration_ms", "number", "ms"),
                ("averages", "integer", ""),
                ("boxcar", "integer", ""),
            )
        }
        keys[f"{self.name}_wavelength"] = {
            "source": source,
            "dtype": "array",
            "dtype_numpy": "<f8",
            "shape": [len(self.wavelengths)],
            "units": "nm",
        }
        return keys


def _begins(prefix: bytes, message: bytes) -> bool:
    return message.startswith(prefix)
