"""How large each process of the shipped lab is at rest: its share of memory (PSS), shared pages counted in part."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from octolab.stack.options import DEFAULT_LAB

from .lab import bench_lab

REST_S = 5.0


def run() -> dict[str, Any]:
    """Measure."""
    with bench_lab(DEFAULT_LAB) as lab:
        time.sleep(REST_S)
        running = lab.running
        found = {"supervisor": proportional_mb(running["supervisor"])}
        children = _children()
        for name, pid in running["processes"].items():
            found[name] = proportional_mb(pid)
            for child in children.get(pid, ()):
                found[f"{name}: {_command(child)}"] = proportional_mb(child)
    return {"pss_mb": {**found, "total": round(sum(found.values()), 1)}}


def proportional_mb(pid: int) -> float:
    """Return a process's proportional set size in MB (10⁶ bytes)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return round(int(line.split()[1]) * 1024 / 1e6, 1)
    return 0.0


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        found.setdefault(parent, []).append(int(stat.parent.name))
    return found


def _command(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return " ".join(word.decode(errors="replace") for word in words[1:4]).strip() or "child"
