"""``python -m octolab.bench latency|load|memory|estop|control|fairness|solve|growth|planning [--json]``."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from octolab.stack.options import REPOSITORY

from .lab import BenchError

SUBJECTS = ("latency", "load", "memory", "estop", "control", "fairness", "solve", "growth")


def main() -> int:
    """Run the benchmarks that are asked for."""
    parser = argparse.ArgumentParser(
        prog="deploy/bench",
        description="Print figures of this machine, on a stack of its own. Nothing else should run meanwhile.",
    )
    parser.add_argument("subject", nargs="*", choices=[*SUBJECTS, "planning", []], help="what to measure; all if empty")
    parser.add_argument("--json", action="store_true", help="one JSON object, for programs")
    options, others = parser.parse_known_args()
    subjects = options.subject or [*SUBJECTS, "planning"]
    if others and subjects != ["planning"]:
        parser.error(f"unknown: {' '.join(others)}")
    figures: dict[str, Any] = {}
    try:
        for subject in subjects:
            if subject == "planning":
                code = _planning([*others, *(["--json"] if options.json else [])])
                if code != 0:
                    return code
                continue
            figures[subject] = _module(subject)
            if not options.json:
                print(f"\n{subject}")
                _print(figures[subject], "  ")
    except BenchError as error:
        print(f"deploy/bench: {error}", file=sys.stderr)
        return 1
    if options.json and figures:
        print(json.dumps(figures, indent=2, ensure_ascii=False))
    return 0


def _module(subject: str) -> dict[str, Any]:
    from . import control, estop, fairness, growth, latency, load, memory, solve

    subjects = {"latency": latency, "load": load, "memory": memory, "estop": estop, "control": control}
    return {**subjects, "fairness": fairness, "solve": solve, "growth": growth}[subject].run()


def _planning(arguments: list[str]) -> int:
    """Let the planner measure itself."""
    command = [sys.executable, "-m", "scheduler.planning", "bench", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, check=False).returncode  # noqa: S603


def _print(figures: Mapping[str, Any], indent: str) -> None:
    for name, value in figures.items():
        label = name.replace("_", " ")
        if isinstance(value, Mapping):
            print(f"{indent}{label}")
            _print(value, f"{indent}  ")
        else:
            print(f"{indent}{label:<34} {value}")


if __name__ == "__main__":
    sys.exit(main())
