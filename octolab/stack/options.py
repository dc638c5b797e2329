"""The command line of the stack."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DEMO_JOB = REPOSITORY / "octolab" / "examples" / "silver-nanoparticles.yaml"
DEFAULT_LAB = REPOSITORY / "octolab" / "labs" / "silver.toml"


@dataclass(frozen=True)
class Options:
    """What ``deploy/up`` was asked for."""

    lab: Path
    data: Path
    port: int
    scale: float | None
    demo: bool
    """Whether a job is submitted; False to start the stack alone."""
    demo_job: Path | None
    """The job; None for the first shipped example that fits the lab."""
    once: bool


def parse(arguments: Sequence[str]) -> Options:
    """Read the command line; variables of the environment stand in for what it does not say."""
    parser = argparse.ArgumentParser(
        prog="deploy/up",
        description="Start a whole laboratory server on this machine, run a demo job, and keep running until Ctrl-C.",
        epilog="To use real servers set OCTOLAB_DATABASE_URL, OCTOLAB_MONGO_URL and OCTOLAB_REDIS_URL.",
    )
    variables = os.environ
    parser.add_argument(
        "--lab",
        type=Path,
        metavar="FILE",
        default=Path(variables.get("OCTOLAB_LAB", DEFAULT_LAB)),
        help="the lab file: which modules and devices there are (default: the shipped simulated lab)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        default=Path(variables.get("OCTOLAB_DATA_ROOT", REPOSITORY / "var")),
        help="where everything is kept (default: var/)",
    )
    parser.add_argument(
        "--port",
        type=_port,
        metavar="N",
        default=variables.get("OCTOLAB_PORT", "8000"),
        help="port of dashboard and REST on 127.0.0.1; 0 takes any free one (default: 8000)",
    )
    parser.add_argument("--scale", type=_scale, metavar="X", help="lab seconds per real second, for simulated labs")
    demo = parser.add_mutually_exclusive_group()
    demo.add_argument(
        "--once", action="store_true", help="stop after the demo job: exit code 0 if it completed, else 1"
    )
    demo.add_argument("--no-demo", action="store_true", help="start the stack and submit nothing")
    parser.add_argument(
        "--job", type=Path, metavar="FILE", help="the job to submit as the demo (default: an example that fits the lab)"
    )
    chosen = parser.parse_args(arguments)
    for option, path in (("--lab", chosen.lab), ("--job", chosen.job)):
        if path is not None and not path.is_file() and not (option == "--job" and chosen.no_demo):
            parser.error(f"{option}: there is no file {path}")
    return Options(
        lab=chosen.lab.resolve(),
        data=chosen.data.resolve(),
        port=chosen.port,
        scale=chosen.scale,
        demo=not chosen.no_demo,
        demo_job=None if chosen.job is None else chosen.job.resolve(),
        once=chosen.once,
    )


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: write a number from 0 to 65535")
    return int(text)


def _scale(text: str) -> float:
    try:
        scale = float(text)
    except ValueError:
        scale = 0.0
    if not 0 < scale <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time scale: write a number above 0, at most 10000")
    return scale
