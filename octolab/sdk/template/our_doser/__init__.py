"""A powder doser: the module. Its manifest says what it offers, its actions do it.

What to change first: the parameters, the steps with their durations, the results. Then the driver.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from octolab.sdk import Aborted, Action, Context, Device, Manifest, Resource, Result, Step, Stopped, Task

SECONDS_PER_MG = 0.5
POINTS = 20
NOTHING: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
DOSE = {
    "type": "object",
    "properties": {
        "mass": {"type": "number", "unit": "mg", "minimum": 1, "maximum": 500, "description": "How much powder."},
    },
    "required": ["mass"],
    "additionalProperties": False,
}


def manifest(options: Mapping[str, Any]) -> Manifest:
    """Say what the module offers; ``options`` is ``[modules.<name>.options]`` of the lab file."""
    return Manifest(
        package="our_doser",
        version="1",
        title="Powder doser",
        devices={"doser": Device(description="Doses powder and weighs it.")},
        resources={"cup": Resource(capacity=1, cleanup="empty", put_away="empty")},
        tasks=(
            Task(
                name="dose",
                title="Dose powder",
                description="Doses powder into a fresh cup, and weighs it.",
                parameters=DOSE,
                creates_sample=True,
                steps=(
                    Step(
                        name="dose",
                        action="dose",
                        devices={"doser": "use"},
                        takes=("cup",),
                        duration_s=f"mass * {SECONDS_PER_MG} + 5",
                    ),
                ),
                results=(
                    Result(name="mass", unit="mg", description="What the balance shows at the end."),
                    Result(name="curve", dtype="array", unit="mg", shape=(None,), description="Mass over time."),
                ),
            ),
            Task(
                name="empty",
                title="Empty the cup",
                parameters=NOTHING,
                sample_from="cup",
                steps=(Step(name="empty", action="empty", devices={"doser": "use"}, duration_s="10", frees=("cup",)),),
            ),
        ),
        actions=(Action(name="dose"), Action(name="empty", repeat_safe=True)),
    )


def dose(ctx: Context) -> None:
    """Dose, and record the mass and how it grew."""
    doser, wanted_mg = ctx.device("doser"), ctx.parameters["mass"]
    began_s = ctx.clock.now()
    times_s, masses_mg = [0.0], [0.0]
    doser.start(wanted_mg)
    try:
        while doser.is_dosing():
            ctx.checkpoint()  # here somebody's stop or abort ends the action
            ctx.sleep(wanted_mg * SECONDS_PER_MG / POINTS)
            times_s.append(ctx.clock.now() - began_s)
            masses_mg.append(doser.mass_mg())
            ctx.progress(masses_mg[-1] / wanted_mg, f"{masses_mg[-1]:.1f} mg")
    except (Aborted, Stopped):
        doser.stop()
        raise
    ctx.record(mass=doser.mass_mg())
    ctx.array("curve", masses_mg, axes={"time": (times_s, "s")})


def empty(ctx: Context) -> None:
    """Throw away what is in the cup."""
    ctx.device("doser").empty()


ACTIONS: Mapping[str, Callable[[Context], None]] = {"dose": dose, "empty": empty}
