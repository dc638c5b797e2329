"""``python -m octolab.stack up``: see ``--help``."""

from __future__ import annotations

import sys

from .backup import backup, restore
from .options import parse
from .up import run


def main() -> int:
    """Run the command line and return its exit code."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["up"]:
        return run(parse(arguments[1:]))
    if arguments[:1] in (["backup"], ["restore"]):
        return {"backup": backup, "restore": restore}[arguments[0]](arguments[1:])
    print("usage: python -m octolab.stack up|backup|restore [--help]", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
