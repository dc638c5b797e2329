"""What the batch synthesis module does. No motion here is outside the mask of its step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from modules.carrying import from_storage, home_arm, rescue_to_storage, to_storage

from .manifest import Options

if TYPE_CHECKING:
    from octolab.sdk import Context

REACH_MM = 0.1


def home_actuator(ctx: Context) -> None:
    """Home the nozzles' axis if it is not, and bring it out of the way."""
    actuator = ctx.device("linear_actuator")
    if actuator.status().state == "unhomed":
        actuator.home()
    clear_the_way(ctx)


def initialize_pumps(ctx: Context) -> None:
    """Initialize the pumps that are not. What their syringes hold leaves above the centre, where the waste is."""
    clear_the_way(ctx)
    pumps = ctx.devices("pumps")
    for number, pump in enumerate(pumps):
        ctx.progress(number / len(pumps), pump.name)
        if pump.status().state == "unhomed":
            pump.initialize()


def clear_the_way(ctx: Context) -> None:
    """Bring the nozzles out of the arm's way, if they are not there already."""
    actuator = ctx.device("linear_actuator")
    x_mm, z_mm = actuator.position()
    if abs(x_mm - actuator.places["center"]) > REACH_MM or abs(z_mm - actuator.up_mm) > REACH_MM:
        actuator.center()


def load_vial(ctx: Context) -> None:
    """Bring a fresh vial to its slot on the stirrer."""
    clear_the_way(ctx)
    from_storage(ctx, _slot(ctx))


def add_solution(ctx: Context) -> None:
    """Pump a solution into the vial, and leave the nozzles out of the way."""
    solution = ctx.parameters["solution"]
    wanted = Options.model_validate(dict(ctx.options)).pumps[solution]
    pump = next(pump for pump in ctx.devices("pumps") if pump.name == wanted)
    actuator = ctx.device("linear_actuator")
    actuator.down_to(_slot(ctx))
    ctx.progress(0.3, f"pumping {solution}")
    delivered_ul = pump.dispense(ctx.parameters["volume"], ctx.parameters["rate"])
    actuator.center()
    ctx.record(delivered=delivered_ul)


def set_stirring(ctx: Context) -> None:
    """Stir at the speed that the step holds."""
    ctx.device("stirrer").stir(ctx.settings["stirrer.speed_rpm"])


def set_heating(ctx: Context) -> None:
    """Hold the temperature that the step holds."""
    ctx.device("stirrer").heat(ctx.settings["stirrer.temperature_c"])


def stop_stirring(ctx: Context) -> None:
    """Stop the stirrer: no vial needs it any more."""
    ctx.device("stirrer").stir(0)


def stop_heating(ctx: Context) -> None:
    """Switch the heater off: no vial needs it any more."""
    ctx.device("stirrer").stop_heating()


def unload_vial(ctx: Context) -> None:
    """Bring the vial from the stirrer to the holder."""
    clear_the_way(ctx)
    ctx.device("arm").transfer(_slot(ctx), "vial_holder")


def store(ctx: Context) -> None:
    """Bring the vial from the holder to its storage place."""
    to_storage(ctx, "vial_holder")


def park(ctx: Context) -> None:
    """Bring the vial from the stirrer to its storage place."""
    clear_the_way(ctx)
    to_storage(ctx, _slot(ctx))


def rescue_from_holder(ctx: Context) -> None:
    """Bring what stands in the holder, if anything, to its storage place."""
    rescue_to_storage(ctx, "vial_holder")


def rescue_from_slot(ctx: Context) -> None:
    """Bring what stands in the slot, if anything, to its storage place."""
    clear_the_way(ctx)
    rescue_to_storage(ctx, _slot(ctx))


def _slot(ctx: Context) -> str:
    return f"stirrer.{ctx.places['vial_slot'] + 1}"


ACTIONS: Mapping[str, Callable[[Any], Any]] = {
    action.__name__: action
    for action in (
        home_arm, home_actuator, initialize_pumps, load_vial, add_solution, set_stirring, set_heating, stop_stirring,
        stop_heating, unload_vial,
        store, park, rescue_from_holder, rescue_from_slot,
    )
}  # fmt: skip
