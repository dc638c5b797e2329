"""``deploy/chaos``: see ``--help``."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .faults import KINDS
from .lab_under_fire import DISK
from .run import Plan, describe, run

_INSIDE = "OCTOLAB_CHAOS_FOLDER"


def main() -> int:
    """Run chaos; return 0 if every promise was kept, 1 if one was not, 2 if the run itself failed."""
    parser = argparse.ArgumentParser(
        prog="deploy/chaos",
        description="Run a whole simulated lab, hurt it at random, and check that it kept its promises.",
    )
    parser.add_argument("--minutes", type=float, default=5.0, metavar="N", help="how long faults come (default: 5)")
    parser.add_argument("--faults", type=int, metavar="N", help="stop after so many faults")
    parser.add_argument("--seed", default=str(random.randrange(1_000_000)), metavar="S", help="replays a run")
    parser.add_argument("--scale", type=float, default=100.0, metavar="X", help="lab seconds per second (default: 100)")
    parser.add_argument("--virtual", action="store_true", help="leave the silver lab out")
    parser.add_argument("--only", action="append", default=[], choices=sorted(KINDS), help="only faults of this kind")
    parser.add_argument("--keep", action="store_true", help="keep the data even if nothing was found")
    options = parser.parse_args()
    if _INSIDE not in os.environ:
        return _with_own_disk()
    folder = Path(os.environ[_INSIDE])
    own_disk = _mount(folder / "data")
    if not own_disk:
        print("NOT DONE: the disk cannot be filled here (no right to mount a small file system)", flush=True)
    plan = Plan(
        seed=options.seed,
        minutes=options.minutes,
        faults=options.faults,
        scale=options.scale,
        silver=not options.virtual,
        only=tuple(options.only),
    )
    print(f"seed {plan.seed}, data in {folder}", flush=True)
    try:
        report = run(plan, folder, own_disk=own_disk, say=lambda text: print(text, flush=True))
    except BaseException:
        _keep(folder)
        raise
    print(describe(report), flush=True)
    if report.violations or options.keep:
        _keep(folder)
    return 1 if report.violations else 0


def _keep(folder: Path) -> None:
    """Copy everything out of the small file system, which ends with this process."""
    kept = Path(f"{folder}-kept")
    shutil.copytree(folder, kept, ignore=_special_files, dirs_exist_ok=True)
    print(f"everything is kept in {kept}", flush=True)


def _special_files(folder: str, names: list[str]) -> list[str]:
    paths = {name: Path(folder, name) for name in names}
    return [name for name, path in paths.items() if path.is_symlink() or not (path.is_dir() or path.is_file())]


def _with_own_disk() -> int:
    """Start this again in a mount namespace of its own, where a small file system may be mounted for the data."""
    folder = tempfile.mkdtemp(prefix="octolab-chaos-")
    again = [sys.executable, "-m", "tests.chaos", *sys.argv[1:]]
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        unshare = []
    try:
        return subprocess.run([*unshare, *again], env={**os.environ, _INSIDE: folder}, check=False).returncode
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _mount(data: Path) -> bool:
    data.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=700", "octolab-chaos", str(data)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
