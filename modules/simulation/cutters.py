"""Cutting what reaches an instrument into its commands. Written apart from the drivers', to check them."""

from __future__ import annotations

from typing import Protocol

STX, ETX = 0x02, 0x03


class Cutter(Protocol):
    """Cuts a stream."""

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes, return the commands that are complete now."""
        ...


class LineCutter:
    """Lines; bytes in ``realtime`` are commands of their own, wherever they come."""

    def __init__(self, realtime: bytes = b"") -> None:
        self._realtime = set(realtime)
        self._line = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """See `Cutter`."""
        commands = []
        for byte in data:
            if byte in self._realtime:
                commands.append(bytes([byte]))
            elif byte in b"\r\n":
                if line := bytes(self._line).strip():
                    commands.append(line)
                self._line.clear()
            else:
                self._line.append(byte)
        return commands


class BlockCutter:
    """Cavro blocks: STX, anything, ETX, one checksum byte. What is outside is ignored."""

    def __init__(self) -> None:
        self._block = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """See `Cutter`."""
        blocks = []
        for byte in data:
            ended = len(self._block) > 1 and self._block[-1] == ETX
            if self._block or byte == STX:
                self._block.append(byte)
            if ended:
                blocks.append(bytes(self._block))
                self._block.clear()
        return blocks
