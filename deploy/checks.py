"""All checks and tests, one after the other, and a plain summary. Run by ``deploy/test``.

What cannot be done on this machine is skipped with one loud line, never silently.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import postgres

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PACKAGES = ("octolab", "scheduler", "modules", "users", "analysis", "notifications")


class Skipped(Exception):  # noqa: N818
    """A check cannot be done here; the text says why, and what would make it possible."""


class Failed(Exception):  # noqa: N818
    """A check found something; its output has been shown."""


@dataclass
class Check:
    """One check."""

    name: str
    run: Callable[[], None]


def main() -> int:
    """Run what is asked for; return 0 if nothing failed."""
    checks = _checks()
    parser = argparse.ArgumentParser(prog="deploy/test", description="Run all checks and tests.")
    parser.add_argument("only", nargs="*", metavar="CHECK", help=f"of {', '.join(check.name for check in checks)}")
    parser.add_argument("--no-install", action="store_true", help="install no Debian packages")
    options = parser.parse_args()
    if unknown := set(options.only) - {check.name for check in checks}:
        parser.error(f"there is no check {min(unknown)!r}")
    if not options.no_install:
        _install_debian_packages()
    outcomes = []
    for check in checks:
        if not options.only or check.name in options.only:
            outcomes.append(_outcome(check))
    print("\n" + "=" * 78)
    for name, outcome, seconds, note in outcomes:
        print(f"{name:<14} {outcome:<8} {seconds:6.1f} s  {note}".rstrip())
    failed = [name for name, outcome, _, _ in outcomes if outcome == "FAILED"]
    print("=" * 78)
    print(f"{len(failed)} of {len(outcomes)} failed: {', '.join(failed)}" if failed else "Everything passed.")
    return 1 if failed else 0


def _outcome(check: Check) -> tuple[str, str, float, str]:
    print(f"\n=== {check.name} " + "=" * (73 - len(check.name)), flush=True)
    started_s = time.monotonic()
    outcome, note = "passed", ""
    try:
        check.run()
    except Failed:
        outcome = "FAILED"
    except Skipped as reason:
        outcome, note = "SKIPPED", str(reason)
        _loud(f"{check.name} skipped: {reason}")
    return check.name, outcome, time.monotonic() - started_s, note


def _checks() -> list[Check]:
    return [
        Check("lint", lambda: _run("ruff", "check", ".")),
        Check("format", lambda: _run("ruff", "format", "--check", ".")),
        Check("types", lambda: _run("mypy", *PACKAGES, "deploy")),
        Check("imports", lambda: _run("lint-imports")),
        Check("packages", _audit),
        Check("migrations", _migrations),
        Check("tests", _tests),
        Check("postgresql", _tests_on_postgres),
    ]


def _run(program: str, *arguments: str, environment: dict[str, str] | None = None) -> None:
    command = [str(BIN / program), *arguments]
    print("$", program, *arguments, flush=True)
    done = subprocess.run(  # noqa: S603
        command, cwd=ROOT, env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode != 0:
        raise Failed


def _migrations() -> None:
    environment = {"OCTOLAB_SECRET_KEY": "only-to-look-at-models", "OCTOLAB_DATABASE_URL": "sqlite://:memory:"}
    _run("python", "manage.py", "makemigrations", "--check", "--dry-run", environment=environment)


def _audit() -> None:
    """Look the locked packages up in the public list of known holes."""
    command = [str(BIN / "pip-audit"), "--progress-spinner", "off", "--disable-pip", "--format", "json"]
    command += ["--requirement", "deploy/requirements.txt", "--timeout", "15"]
    try:
        done = subprocess.run(  # noqa: S603
            command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False
        )
        found = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError) as error:
        raise Skipped("the list of known holes cannot be reached from here") from error
    for package in found:
        for hole in package.get("vulns", ()):
            mended = ", ".join(hole["fix_versions"]) or "no version yet"
            print(f"{package['name']} {package['version']}: {hole['id']}, mended in {mended}")
    if any(package.get("vulns") for package in found):
        raise Failed
    print(f"no known holes in {len(found)} packages")


def _pytest(*arguments: str, environment: dict[str, str] | None = None) -> None:
    workers = min(os.cpu_count() or 1, 4)
    parallel = ("-n", str(workers), "--dist", "loadfile") if workers > 1 else ()
    _run("python", "-m", "pytest", "-q", "--color=auto", *parallel, *arguments, environment=environment)


def _tests() -> None:
    if chromium() is None:
        _loud("no Chromium on this machine: the tests that drive the dashboard in a browser are skipped")
    _pytest()


def _tests_on_postgres() -> None:
    programs = postgres.programs()
    if programs is None:
        raise Skipped("there is no PostgreSQL on this machine (Debian: apt-get install postgresql)")
    with postgres.cluster(programs) as url:
        _pytest("-m", "database", environment={"OCTOLAB_DATABASE_URL": url})


def chromium() -> str | None:
    """Return the path of Debian's Chromium, which the browser tests use."""
    return shutil.which("chromium")


def _install_debian_packages() -> None:
    """Install Chromium and PostgreSQL if they are missing and we may."""
    missing = [*([] if chromium() else ["chromium"]), *([] if postgres.programs() else ["postgresql"])]
    apt = shutil.which("apt-get")
    if not missing or apt is None:
        return
    sudo = shutil.which("sudo")
    may = [] if os.geteuid() == 0 else [sudo, "-n"] if sudo else None
    if may is None:
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    print("Installing", *missing, "from Debian's packages ...", flush=True)
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *missing]):
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = subprocess.run(  # noqa: S603
                [*may, apt, *arguments, "-qq"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                timeout=600,
                check=False,
            )
            if done.returncode != 0:
                _loud(f"apt-get {arguments[0]} failed; going on without")


def _loud(text: str) -> None:
    print(f"\n!!! {text}\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
