"""Ports on the loopback interface."""

from __future__ import annotations

import errno
import socket

from .service import StackError


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
