"""Benchmarks: ours, the baselines and the best known side by side. Figures are printed, not asserted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from scheduler.planning.bench import forecasts, instances, kill, labs, noise, speed
from scheduler.planning.bench.report import Settings, Table


@dataclass(frozen=True, slots=True)
class Suite:
    """A benchmark, the CPU seconds it gives each planning call, and about how many CPU minutes it takes."""

    run: Callable[[Settings], Table]
    cpu: float
    minutes: float
    public_data: bool = False


SUITES: dict[str, Suite] = {
    "octopus": Suite(labs.octopus, 5.0, 1.5, public_data=True),
    "slab": Suite(instances.slab, 5.0, 0.3, public_data=True),
    "table": Suite(speed.table, 0.0, 0.2),
    "repair": Suite(speed.live, 0.0, 0.3),
    "determinism": Suite(speed.determinism, 0.0, 0.3),
    "predictions": Suite(forecasts.predictions, 0.0, 8.0),
    "bounds": Suite(instances.bounds, 1.0, 2.0, public_data=True),
    "loads": Suite(labs.loads, 20.0, 2.5),
    "vial": Suite(labs.vial, 20.0, 1.0),
    "online": Suite(labs.online, 1.0, 3.0),
    "noise": Suite(noise.noise, 0.5, 3.0),
    "fairshare": Suite(labs.fairshare, 0.0, 0.5),
    "instances": Suite(instances.instances, 20.0, 12.0, public_data=True),
    "kill": Suite(kill.kill, 0.0, 25.0),
}
"""The suites by name, in the order in which all of them run."""

__all__ = ["SUITES", "Settings", "Suite", "Table"]
