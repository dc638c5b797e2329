"""Requests as no decent client sends them."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.web import WebServer


def exchange(server: WebServer, request: bytes, timeout_s: float = 30.0) -> bytes:
    """Send bytes, and return everything that comes until the server closes; it has to."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=timeout_s) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def get(server: WebServer, target: str, *headers: str) -> bytes:
    """Send a GET for a target exactly as it stands."""
    head = [f"GET {target} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", "Connection: close", *headers]
    return exchange(server, ("\r\n".join(head) + "\r\n\r\n").encode("latin-1"))


def status_of(answer: bytes) -> int:
    """Return the status of an answer; 0 if there is none."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def resident_mb(pid: int) -> float:
    """Return how much memory a process has at present, in MB (10⁶ bytes)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 1e6
