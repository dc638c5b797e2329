"""Make `.venv` exactly as a lock file says, or find that it is so already. Run by the scripts beside it.

Needs nothing but Python 3.11's standard library. The mark of what is installed is written last, so that an
interrupted installation is never taken for a finished one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venv"
MARK = FOLDER / "octolab-installed.json"
LOG = FOLDER / "install.log"
INCLUDES = {"requirements-test.txt": ["requirements-test.txt", "requirements.txt"]}
"""A lock whose packages hold all of another one's, in the same versions."""


def main(lock: str) -> int:
    """Bring `.venv` to the state of the lock."""
    with (ROOT / ".venv.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        installed = _installed()
        try:
            if not _mark(lock).items() <= installed.items():
                _install_packages(lock)
                installed = {key: value for name in INCLUDES.get(lock, [lock]) for key, value in _mark(name).items()}
            if installed.get("project") != _project():
                _pip("--no-index", "--no-build-isolation", "--no-deps", "--editable", str(ROOT))
        except subprocess.CalledProcessError:
            ends_with = "\n".join(LOG.read_text(errors="replace").splitlines()[-15:]) if LOG.exists() else ""
            print(
                f"{ends_with}\n\nThe packages could not be installed; all that pip said is in {LOG}.", file=sys.stderr
            )
            print("pip needs a package index: check the network, or the index in pip's configuration.", file=sys.stderr)
            return 1
        MARK.write_text(json.dumps({**installed, "project": _project()}))
    return 0


def _install_packages(lock: str) -> None:
    print(f"Installing what {lock} lists into .venv (once; a minute or two) ...", flush=True)
    shutil.rmtree(FOLDER, ignore_errors=True)
    venv.create(FOLDER, with_pip=True, symlinks=True)
    _pip("--require-hashes", "--only-binary", ":all:", "--no-deps", "--requirement", str(ROOT / "deploy" / lock))


def _pip(*arguments: str) -> None:
    command = [str(FOLDER / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", *arguments]
    with LOG.open("a") as log:
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True)  # noqa: S603


def _installed() -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads(MARK.read_text())
    except (OSError, ValueError):
        return {}
    return found if (FOLDER / "bin" / "python").exists() else {}


def _mark(lock: str) -> dict[str, str]:
    """Return what a finished installation of the lock is known by: its text, the Python, and the place."""
    text = (ROOT / "deploy" / lock).read_text() + sys.version + str(ROOT)
    return {lock: hashlib.sha256(text.encode()).hexdigest()}


def _project() -> str:
    return hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
