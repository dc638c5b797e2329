"""``python -m modules.simulation --lab FILE --links DIR``: one process per simulated lab."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modules.simulation.clock import ScaledClock
from modules.simulation.lab import LOG, SimulatedLab
from modules.simulation.shipped import shipped_instruments
from modules.simulation.world import World

LOG_TAIL = 16384


def instruments_of(lab: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the instruments' sections of a lab file: its ``[[devices]]`` or ``[[instruments]]`` tables."""
    found = lab.get("devices", lab.get("instruments", []))
    return [dict(section) for section in found]


def last_lab_time(log: Path) -> float:
    """Return the lab time at which a simulation was last seen alive, 0 if there was none."""
    if not log.exists():
        return 0.0
    with log.open("rb") as lines:
        lines.seek(max(0, log.stat().st_size - LOG_TAIL))
        whole = [line for line in lines.read().split(b"\n") if line.endswith(b"}")]
    return float(json.loads(whole[-1])["lab_time"]) if whole else 0.0


def run(lab: SimulatedLab) -> None:
    """Run a simulated lab until SIGTERM or SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: lab.stop())
    lab.run()


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m modules.simulation", description=__doc__)
    parser.add_argument("--lab", type=Path, help="lab file (TOML); the shipped instruments without one")
    parser.add_argument("--links", type=Path, required=True, help="folder for the ports' links")
    parser.add_argument("--data", type=Path, help="folder for commands.jsonl and world.json (default: links)")
    parser.add_argument("--scale", type=float, default=1.0, help="lab seconds per real second")
    parser.add_argument("--seed", type=int, default=0, help="for noise")
    given = parser.parse_args(arguments)
    try:
        sections = instruments_of(tomllib.loads(given.lab.read_text())) if given.lab else shipped_instruments()
    except (OSError, tomllib.TOMLDecodeError) as error:
        print(f"{given.lab}: {error}", file=sys.stderr)
        return 2
    clock = ScaledClock(given.scale, last_lab_time((given.data or given.links) / LOG))
    try:
        lab = SimulatedLab(World.shipped(), sections, clock, links=given.links, data=given.data, seed=given.seed)
    except ValueError as error:
        print(f"{given.lab}: {error}", file=sys.stderr)
        return 2
    run(lab)
    return 0


if __name__ == "__main__":
    sys.exit(main())
