"""What the UV-Vis module does. No motion here is outside the mask of its step."""

from __future__ import annotations

import importlib
import math
import threading
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any

from analysis.routines.spectrum import find_peaks
from modules.carrying import from_storage, home_arm, pick_if_there, rescue_to_storage, to_storage
from modules.drivers.status import ThreadStatus

if TYPE_CHECKING:
    from octolab.sdk import Context

Plan = Generator[Any, Any, Any]


def home_pipette(ctx: Context) -> None:
    """Switch the pipette's motors on and park it; have ready meanwhile what the first measurement needs."""
    threading.Thread(target=_load_what_measures, name="uv_vis loads", daemon=True).start()
    ctx.device("pipette").home()


def _load_what_measures() -> None:
    """Import what is large. In the first measurement it would take seconds of which the plan knows nothing."""
    for name in ("bluesky.run_engine", "bluesky.plan_stubs", "scipy.ndimage", "scipy.signal", "analysis.arrays"):
        importlib.import_module(name)


def fetch_vial(ctx: Context) -> None:
    """Bring the vial from its storage place to the holder."""
    from_storage(ctx, "vial_holder")


def prepare_cuvette(ctx: Context) -> None:
    """Bring a clean cuvette into the beam."""
    arm = ctx.device("arm")
    arm.transfer(_cuvette_slot(ctx), "cuvette_holder")
    arm.transfer("cuvette_holder", "spectrometer")


def measure_spectrum(ctx: Context) -> Plan:
    """Measure dark, blank and sample, and find the peak. The arm keeps still meanwhile."""
    import bluesky.plan_stubs as bps

    wanted = ctx.parameters
    spectrometer, pipette = ctx.device("spectrometer"), ctx.device("pipette")
    # the spectrum is kept as it is; the routine smooths
    spectrometer.configure(boxcar=0)
    yield from bps.stage(spectrometer)
    yield from _do("dark", spectrometer.dark)
    yield from _do("reference", spectrometer.reference)
    ctx.progress(0.15, "blank measured")
    yield from _do("pipette", lambda: pipette.sample("vial_holder", "spectrometer", wanted["volume"]))
    ctx.progress(0.9, "sample in the cuvette")
    yield from bps.open_run()
    reading = yield from _with_cause(bps.trigger_and_read([spectrometer]))
    yield from bps.close_run()
    yield from bps.unstage(spectrometer)
    _keep(ctx, spectrometer.wavelengths, next(iter(reading.values()))["value"])


def _keep(ctx: Context, wavelengths_nm: Any, absorbance: Any) -> None:
    wanted = ctx.parameters
    kept = (wavelengths_nm >= wanted["wavelength_start"]) & (wavelengths_nm <= wanted["wavelength_stop"])
    wavelengths_nm, absorbance = wavelengths_nm[kept], absorbance[kept]
    ctx.array("absorbance", absorbance, axes={"wavelength": (wavelengths_nm, "nm")})
    peaks = find_peaks(
        wavelengths_nm,
        absorbance,
        boxcar_points=wanted["boxcar"],
        prominence=wanted["prominence"],
        min_width_nm=wanted["peak_width"],
    )
    if not peaks:
        ctx.log.warning("the spectrum has no peak that stands out by %s", wanted["prominence"])
        return
    highest = peaks[0]
    ctx.record(peak_nm=highest.position_nm, peak_height=highest.height)
    if math.isfinite(highest.fwhm_nm):
        ctx.record(fwhm_nm=highest.fwhm_nm)


def store_cuvette(ctx: Context) -> None:
    """Bring the cuvette back to its slot, where it is drained and rinsed."""
    ctx.device("arm").transfer("spectrometer", _cuvette_slot(ctx))


def store(ctx: Context) -> None:
    """Bring the vial from the holder to its storage place."""
    to_storage(ctx, "vial_holder")


def rescue(ctx: Context) -> None:
    """Bring what stands in the holder, if anything, to its storage place."""
    rescue_to_storage(ctx, "vial_holder")


def clear_cuvette(ctx: Context) -> None:
    """Bring the cuvette back to its slot from wherever it was left."""
    # A measurement that was broken off leaves the pipette where the arm has to go.
    ctx.device("pipette").clear_away()
    if pick_if_there(ctx, "spectrometer") or pick_if_there(ctx, "cuvette_holder"):
        ctx.device("arm").place(_cuvette_slot(ctx))


def _cuvette_slot(ctx: Context) -> str:
    return f"cuvette.{ctx.places['cuvette_slot'] + 1}"


class _Work:
    """Something that takes its time, as a Bluesky `Triggerable`: the engine stays responsive meanwhile."""

    parent = None

    def __init__(self, name: str, work: Callable[[], Any]) -> None:
        self.name = name
        self._work = work

    def trigger(self) -> ThreadStatus:
        return ThreadStatus(self._work, self.name)


def _do(name: str, work: Callable[[], Any]) -> Plan:
    import bluesky.plan_stubs as bps

    return (yield from _with_cause(bps.trigger(_Work(name, work), wait=True)))


def _with_cause(plan: Plan) -> Plan:
    """Let the device's own error through, which says what to do, instead of the engine's."""
    from bluesky.utils import FailedStatus

    try:
        return (yield from plan)
    except FailedStatus as failed:
        raise failed.__cause__ or failed from None


ACTIONS: Mapping[str, Callable[[Any], Any]] = {
    action.__name__: action
    for action in (
        home_arm, home_pipette, fetch_vial, prepare_cuvette, measure_spectrum, store_cuvette, store, rescue,
        clear_cuvette,
    )
}  # fmt: skip
