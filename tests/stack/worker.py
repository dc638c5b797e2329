"""A small process for the supervisor's tests: what it does is told by its arguments."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from modules.contract.ready import announce_ready


def main() -> None:
    behaviour = sys.argv[1]
    if behaviour == "fails":
        print("the disk is on fire")
        sys.exit(3)
    if behaviour == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if behaviour == "parent":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(sys.argv[2]).write_text(str(child.pid))
    if behaviour == "note_end":

        def end(*_: object) -> None:
            with Path(sys.argv[2]).open("a") as file:
                file.write(f"{sys.argv[3]}\n")
            sys.exit(0)

        signal.signal(signal.SIGTERM, end)
    if behaviour != "silent":
        announce_ready(f"process {os.getpid()}")
    print("working")
    time.sleep(600)


if __name__ == "__main__":
    main()
