"""Processes for the supervisor's tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from octolab.stack.readiness import Notifies
from octolab.stack.service import Service

ROOT = Path(__file__).resolve().parents[2]


def worker(name: str, *arguments: str, **kwargs: object) -> Service:
    """Return a service that runs ``worker.py``."""
    return Service(
        name=name,
        command=(sys.executable, "-m", "tests.stack.worker", *arguments),
        ready=Notifies(),
        environment={"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1"},
        directory=ROOT,
        **kwargs,  # type: ignore[arg-type]
    )


def alive(pid: int) -> bool:
    """Return whether the process exists and has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
