"""How a process tells its supervisor that it does its work now.

The protocol is systemd's: one datagram to the socket that ``NOTIFY_SOCKET`` names. The local stack listens to
it, and so does systemd for units of ``Type=notify``. Without a supervisor nothing happens.
"""

from __future__ import annotations

import os
import socket


def announce_ready(status: str = "") -> None:
    """Tell the supervisor, if there is one, that this process is ready.

    Parameters
    ----------
    status
        One line for people, shown beside the process's name.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    message = f"READY=1\nSTATUS={status}" if status else "READY=1"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
        try:
            notify.sendto(message.encode(), address)
        except OSError:
            return  # the supervisor has gone; the process works without it
