"""A person's hands at a simulated bench: orders to the simulation's control socket, ``<links>/control``.

An order is one line of JSON, answered by ``{"ok": true, …}`` or ``{"ok": false, "error": …}``. Those that there are:
:mod:`modules.simulation.control`.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CONTROL = "control"
ANSWER_TIMEOUT_S = 10.0


def order(links: Path, **what: Any) -> dict[str, Any]:
    """Send an order to the simulation that keeps its links in a folder, and return its answer.

    Raises
    ------
    OSError
        No simulation runs there, or it does not answer.
    ValueError
        The simulation refused; the text says why.
    """
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(ANSWER_TIMEOUT_S)
        with short(links / CONTROL) as path:
            client.connect(path)
        client.sendall(json.dumps(what).encode() + b"\n")
        with client.makefile("rb") as answers:
            answer: dict[str, Any] = json.loads(answers.readline())
    if not answer.pop("ok"):
        raise ValueError(answer["error"])
    return answer


@contextlib.contextmanager
def short(path: Path) -> Iterator[str]:
    """Give a short name for a socket: the kernel takes no more than 107 characters."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
