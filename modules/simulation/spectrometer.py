"""The simulated spectrometer: a lamp, a cuvette and a noisy detector."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modules.simulation.chemistry import absorbance
from modules.simulation.instrument import LineInstrument, Motion, Refusal

if TYPE_CHECKING:
    from modules.simulation.lab import SimulatedLab

Array = NDArray[np.float64]

FIRST_NM, LAST_NM = 300.0, 849.0
MEASURE_S = 6.7
SATURATION = 65535.0
DARK_COUNTS = 1000.0
DARK_PER_MS = 0.5
READ_NOISE = 8.0
BEAM_UL = 400.0
STEPS = {"DARK": "dark", "REF": "reference", "MEASURE": "sample"}
LIMITS = {"integration_ms": (1.0, 1000.0), "averages": (1.0, 1000.0), "boxcar": (0.0, 50.0)}


class SimulatedSpectrometer(LineInstrument):
    """Measures what stands in its beam. Settings: ``seed`` (else the lab's)."""

    model = "octolab-uvvis"

    def __init__(self, lab: SimulatedLab, section: Mapping[str, Any]) -> None:
        super().__init__(lab, section)
        self.wavelengths: Array = np.arange(FIRST_NM, LAST_NM + 0.5, 1.0)
        self.memory.update(integration_ms=20.0, averages=10.0, boxcar=0.0, measured=0)
        self.data: dict[str, Array] = {"wavelength": self.wavelengths}
        self.verbs |= {"SET": (self.set, False), "DATA": (self.send_data, False)}
        self.verbs |= {verb: (self._starter(verb), True) for verb in STEPS}

    def status(self) -> dict[str, Any]:
        """Add the settings and which spectra it keeps."""
        kept = ",".join(name for name in STEPS.values() if name in self.data) or "-"
        return super().status() | {key: f"{self.memory[key]:g}" for key in LIMITS} | {"kept": kept}

    def set(self, name: str, value: str) -> dict[str, Any]:
        """``SET <name> <value>``."""
        if name not in LIMITS:
            raise Refusal("no_setting", f"there is no setting {name}")
        low, high = LIMITS[name]
        if not low <= float(value) <= high:
            raise Refusal("range", f"{name} goes from {low:g} to {high:g}")
        self.memory[name] = float(value)
        return {}

    def execute(self, command: bytes) -> None:
        """Answer ``DATA`` with a block, everything else like any line instrument."""
        number, verb, arguments = self._words(command)
        if verb == "DATA" and len(arguments) == 1 and arguments[0] in self.data:
            name = arguments[0]
            self.log(command, verb, accepted=True, moves=False)
            body = self.data[name].astype("<f4").tobytes()
            head = f"{number} DATA {name} {len(self.data[name])} {len(body)} {zlib.crc32(body):08x}\n"
            self.answer(head.encode() + body)
        else:
            super().execute(command)

    def send_data(self, name: str) -> dict[str, Any]:
        """``DATA <name>`` for something it has not got."""
        code = f"no_{name}" if name in STEPS.values() else "no_data"
        raise Refusal(code, f"no {name} spectrum was measured")

    def _starter(self, verb: str) -> Any:
        def start() -> dict[str, Any]:
            if verb == "MEASURE" and "reference" not in self.data:
                raise Refusal("no_reference", "measure the reference first")
            if other := self.claim("arm", "uv"):
                raise Refusal("collision", f"{other} moves while the spectrum is taken", incident=True)
            self.begin(verb, MEASURE_S)
            return {}

        return start

    def finish(self, motion: Motion) -> None:
        """Keep the spectrum."""
        super().finish(motion)
        self.data[STEPS[motion.verb]] = self._counts(shutter=motion.verb == "DARK")
        self.data.setdefault("dark", np.full_like(self.wavelengths, self._dark()))

    def power_on(self) -> None:
        """Lose the spectra."""
        super().power_on()
        self.data = {"wavelength": self.wavelengths}

    def _dark(self) -> float:
        return DARK_COUNTS + DARK_PER_MS * float(self.memory["integration_ms"])

    def _counts(self, *, shutter: bool) -> Array:
        """Return what the detector gives: shot and read noise, averaged and smoothed as set."""
        nm, memory = self.wavelengths, self.memory
        memory["measured"] += 1
        seed = [
            int(self.settings.get("seed", self.lab.seed)),
            zlib.crc32(self.id.encode()),
            memory["measured"],
        ]
        noise = np.random.default_rng(seed)
        light = np.zeros_like(nm)
        if not shutter:
            deuterium, halogen = np.exp(-(nm - 300.0) / 70.0), np.exp(-(((nm - 640.0) / 190.0) ** 2))
            light = memory["integration_ms"] * (600.0 * deuterium + 2100.0 * halogen + 60.0)
            light = light * 10.0 ** -(absorbance(nm, self.world.recipe("spectrometer", self.now)) ** 1.0)
            light = self._through(light)
        spread = np.sqrt((light + READ_NOISE**2) / memory["averages"])
        counts = np.minimum(self._dark() + light + noise.normal(0.0, 1.0, nm.shape) * spread, SATURATION)
        half = int(memory["boxcar"])
        if half:
            padded = np.pad(counts, half, mode="edge")
            counts = np.convolve(padded, np.full(2 * half + 1, 1.0 / (2 * half + 1)), mode="valid")
        return counts

    def _through(self, light: Array) -> Array:
        """An almost empty cuvette lets some of the beam pass above the liquid; nothing to do for a full
        one."""
        cuvette = self.world.standing.get("spectrometer")
        volume = cuvette.volume_ul if cuvette else 0.0
        if volume <= 0 or volume >= BEAM_UL:
            return light
        blank = light / 10.0 ** -absorbance(self.wavelengths, self.world.recipe("spectrometer", self.now))
        share = volume / BEAM_UL
        return np.asarray(share * light + (1 - share) * blank)

    def snapshot(self) -> dict[str, Any]:
        """Keep the spectra too."""
        kept = {name: values.round(2).tolist() for name, values in self.data.items() if name != "wavelength"}
        return super().snapshot() | {"data": kept}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take the spectra back."""
        super().restore(saved)
        self.data |= {name: np.array(values) for name, values in saved["data"].items()}
