"""What the virtual module does: nothing, for as long as it was asked to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from octolab.sdk import Context

LONGEST_PART_S = 10.0
"""Longest time between two checkpoints where no device is used, lab seconds."""


def noop(ctx: Context) -> None:
    """Do nothing."""
    if "value" in ctx.parameters:
        ctx.record(value=ctx.parameters["value"])


def occupy(ctx: Context) -> None:
    """Use the chosen devices, all at the same time; wait if there is none."""
    wanted = ctx.parameters
    began_s = ctx.clock.now()
    devices = [ctx.device(name) for name in dict.fromkeys(wanted["devices"])]
    if devices:
        _run_all(devices, wanted["time"], fail=wanted["fail"], overrun=wanted["overrun"])
    else:
        _wait(ctx, wanted["time"] * wanted["overrun"])
        if wanted["fail"]:
            raise RuntimeError("failed, as asked")
    ctx.record(seconds=ctx.clock.now() - began_s)


def _run_all(devices: list[Any], seconds: float, **wishes: Any) -> None:
    if len(devices) == 1:
        devices[0].run(seconds, **wishes)
        return
    with ThreadPoolExecutor(len(devices)) as pool:
        runs = [pool.submit(device.run, seconds, **wishes) for device in devices]
    for run in runs:
        run.result()


def _wait(ctx: Context, seconds: float) -> None:
    left_s = seconds
    while left_s > 0:
        ctx.checkpoint()
        ctx.sleep(min(left_s, LONGEST_PART_S))
        left_s -= LONGEST_PART_S
    ctx.checkpoint()


ACTIONS: Mapping[str, Callable[[Any], Any]] = {"noop": noop, "occupy": occupy}
