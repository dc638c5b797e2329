"""The control socket ``<links>/control``: faults and a person's hands, as JSON lines.

- a fault, see :mod:`modules.simulation.faults`:
  ``{"do": "fault", "instrument": "arm", "fault": "slow", "seconds": 2, "count": 3}``
- a fresh vessel: ``{"do": "fill", "place": "vial_storage.1.1"}``
- take one away: ``{"do": "remove", "place": "vial_storage.1.1"}``
- take a sample away as a lab's people do, by the lab's name of the place; where vials are stored, a fresh one comes in
  its stead: ``{"do": "collect", "place": "vial_storage.1.1"}``
- put an instrument that stands still out of the way, with empty hands: ``{"do": "tidy", "instrument": "arm"}``
- a reservoir: ``{"do": "refill", "instrument": "pump_agno3", "volume_ul": 500000, "concentration_mm": 1.25}``
- the tip rack: ``{"do": "refill", "instrument": "pipette", "tips": 96}``
- a stock by its name, wherever it is: ``{"do": "restock", "stock": "tips", "level": 960}``, solutions in mL
- the world: ``{"do": "state"}``

Orders are sent with :func:`modules.contract.hands.order`.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from modules.contract.hands import short
from modules.simulation.loop import Loop


class ControlSocket:
    """The simulation's end.

    Parameters
    ----------
    path : pathlib.Path
        Of the socket; one that was left behind is replaced.
    loop : Loop
        Waits for orders.
    obey : callable
        Carries out an order and returns what is added to the answer; raises `ValueError` or `KeyError`.
    """

    def __init__(self, path: Path, loop: Loop, obey: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
        self._path = path
        self._loop = loop
        self._obey = obey
        self._server: socket.socket | None = None
        self._clients: dict[socket.socket, bytearray] = {}

    def open(self) -> None:
        """Listen."""
        self._path.unlink(missing_ok=True)
        server = socket.socket(socket.AF_UNIX)
        with short(self._path) as path:
            server.bind(path)
        self._path.chmod(0o600)
        server.listen()
        server.setblocking(False)
        self._server = server
        self._loop.watch(server.fileno(), self._accept)

    def close(self) -> None:
        """Hear no more."""
        for client in list(self._clients):
            self._hang_up(client)
        if self._server is not None:
            self._loop.unwatch(self._server.fileno())
            self._server.close()
            self._server = None
            self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        assert self._server is not None  # noqa: S101 - it is watched only while open
        client, _ = self._server.accept()
        client.setblocking(False)
        self._clients[client] = bytearray()
        self._loop.watch(client.fileno(), partial(self._read, client))

    def _read(self, client: socket.socket) -> None:
        try:
            data = client.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._hang_up(client)
            return
        buffer = self._clients[client]
        buffer += data
        while (end := buffer.find(b"\n")) >= 0:
            line = bytes(buffer[:end])
            del buffer[: end + 1]
            with contextlib.suppress(OSError):
                client.sendall(json.dumps(self._do(line)).encode() + b"\n")

    def _do(self, line: bytes) -> dict[str, Any]:
        try:
            order = json.loads(line)
            if not isinstance(order, dict):
                raise ValueError("an order is a JSON object")
            return {"ok": True, **self._obey(order)}
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            return {"ok": False, "error": f"{type(error).__name__}: {error}"}

    def _hang_up(self, client: socket.socket) -> None:
        del self._clients[client]
        self._loop.unwatch(client.fileno())
        client.close()
