"""``python -m modules.host --lab FILE --name HOST``, or ``--check`` to see whether the lab could run."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

# before anything imports Celery: its Django fixup would cost 43 MB and the wrong time zone
os.environ.pop("DJANGO_SETTINGS_MODULE", None)


def main() -> int:
    """Run a host; return the exit code: 2 if it cannot run as it is set up."""
    parser = argparse.ArgumentParser(prog="python -m modules.host", description=__doc__)
    parser.add_argument("--lab", type=Path, default=os.environ.get("OCTOLAB_LAB"), help="the lab file")
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--name", help="which of the lab's hosts this is")
    task.add_argument("--check", action="store_true", help="only see whether the lab file and its packages can be used")
    parser.add_argument("--finish", type=float, default=60.0, metavar="SECONDS", help="for running steps, at the end")
    parser.add_argument("--log-level", default="INFO")
    arguments = parser.parse_args()
    if arguments.check and arguments.lab is not None:
        return _check(arguments.lab)
    missing = [
        name for name in ("OCTOLAB_MONGO_URL", "OCTOLAB_REDIS_URL", "OCTOLAB_DATA_ROOT") if name not in os.environ
    ]
    if arguments.lab is None:
        missing.append("OCTOLAB_LAB (or --lab)")
    if missing:
        print(f"host: please set {', '.join(missing)}", file=sys.stderr)
        return 2
    _log_to_stderr(arguments.log_level)

    from modules.contract.lab import LabFileError

    from .journal import JournalError
    from .memory import keep_small
    from .packages import PackageError
    from .service import Host, Settings

    keep_small()
    settings = Settings(
        lab=arguments.lab,
        name=arguments.name,
        mongo_url=os.environ["OCTOLAB_MONGO_URL"],
        redis_url=os.environ["OCTOLAB_REDIS_URL"],
        data_root=Path(os.environ["OCTOLAB_DATA_ROOT"]),
        finish_s=arguments.finish,
    )
    try:
        Host(settings).run()
    except (LabFileError, PackageError, JournalError) as error:
        print(f"host {settings.name}: {error}", file=sys.stderr)
        return 2
    return 0


def _check(path: Path) -> int:
    from modules.contract.lab import LabFileError, load

    from .check import mistakes

    try:
        found = mistakes(load(path))
    except LabFileError as error:
        found = [str(error)]
    for mistake in found:
        print(mistake)
    return 2 if found else 0


def _log_to_stderr(level: str) -> None:
    from octolab.logs import LineFormatter

    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    for noisy in ("celery", "kombu", "bluesky", "pymongo"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


if __name__ == "__main__":
    sys.exit(main())
