"""Benchmarks: ours, the baselines and the best known side by side. Figures are printed, not asserted."""

from __future__ import annotations

from collections.abc import Callable

from scheduler.planning.bench import forecasts, instances, labs, speed
from scheduler.planning.bench.report import Settings, Table

SUITES: dict[str, Callable[[Settings], Table]] = {
    "instances": instances.instances,
    "slab": instances.slab,
    "octopus": labs.octopus,
    "loads": labs.loads,
    "vial": labs.vial,
    "online": labs.online,
    "noise": labs.noise,
    "fairshare": labs.fairshare,
    "predictions": forecasts.predictions,
    "table": speed.table,
    "repair": speed.live,
    "determinism": speed.determinism,
}
"""The suites by name."""

__all__ = ["SUITES", "Settings", "Table"]
