"""Ports on the loopback interface."""

from __future__ import annotations

import errno
import random
import socket
from pathlib import Path

from .service import StackError

_TRIES = 200
_SPAN = 12_000


def free_port() -> int:
    """Return a loopback port that nobody listens on, and that the system gives to nobody by itself.

    While a server is down, its port must not become the near end of somebody's connection: neither of another
    program's, nor of one of our own that tries to reach it and meets itself.
    """
    below = _first_given_away()
    for _ in range(_TRIES):
        port = random.randrange(max(1024, below - _SPAN), below)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise StackError(f"no free port was found below {below} on 127.0.0.1: stop other programs")


def _first_given_away() -> int:
    """Return the lowest port that the system gives to outgoing connections."""
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        first = 32768
    return first if first > 2048 else 32768


def claim_port(port: int) -> int:
    """Return the port, or a free one for 0.

    Raises
    ------
    StackError
        If somebody else listens on it, or it may not be used.
    """
    if port == 0:
        return free_port()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise StackError(
                    f"port {port} is taken by another program: stop that one, or choose another port with --port "
                    f"(--port 0 takes any free one)"
                ) from error
            if error.errno == errno.EACCES:
                raise StackError(
                    f"port {port} may not be used without root: choose one above 1023 with --port"
                ) from error
            raise StackError(f"port {port} cannot be used: {error.strerror}") from error
    return port
