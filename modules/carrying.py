"""Ways of the arm that several modules share. Each takes a step that masks arm and vial storage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modules.drivers import Refused

if TYPE_CHECKING:
    from octolab.sdk import Context

LINE_POSITIONS = 10
"""Places in one line of the storage, unless the module's option ``line_positions`` says otherwise."""


def home_arm(ctx: Context) -> None:
    """Home the arm if it has not found its zero since it was switched on."""
    arm = ctx.device("arm")
    if arm.status().state == "unhomed":
        arm.home()


def from_storage(ctx: Context, target: str) -> None:
    """Bring the sample's vial out of its storage place."""
    line, place = _storage_place(ctx)
    storage = ctx.device("vial_storage")
    storage.open_line(line)
    ctx.device("arm").transfer(place, target)
    storage.close_line()


def to_storage(ctx: Context, source: str) -> None:
    """Bring the sample's vial to its storage place."""
    line, place = _storage_place(ctx)
    storage = ctx.device("vial_storage")
    storage.open_line(line)
    ctx.device("arm").transfer(source, place)
    storage.close_line()


def rescue_to_storage(ctx: Context, source: str) -> None:
    """Bring the vial to its storage place; an empty source is in order, because the vial may never have left."""
    line, place = _storage_place(ctx)
    storage, arm = ctx.device("vial_storage"), ctx.device("arm")
    storage.open_line(line)
    if pick_if_there(ctx, source):
        arm.place(place)
    storage.close_line()


def pick_if_there(ctx: Context, place: str) -> bool:
    """Grip what stands at a place; return whether anything did."""
    try:
        ctx.device("arm").pick(place)
    except Refused as refused:
        if refused.code != "empty":
            raise
        ctx.log.warning("nothing stands at %s", place)
        return False
    return True


def _storage_place(ctx: Context) -> tuple[int, str]:
    """Return line and name of the sample's storage place."""
    positions = int(ctx.options.get("line_positions", LINE_POSITIONS))
    line, position = divmod(ctx.places["storage"], positions)
    return line + 1, f"vial_storage.{line + 1}.{position + 1}"
