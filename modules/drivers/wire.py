"""How an instrument speaks, and what is said to it."""

from __future__ import annotations

from dataclasses import dataclass

from modules.drivers.framing import Cutter, cut_lines


@dataclass(frozen=True)
class Wire:
    """How an instrument speaks: the line's parameters, and how its messages are cut from the stream.

    Attributes
    ----------
    anonymous : bool
        Several devices share the line and their answers do not tell whose they are: an urgent stop for one
        then ends the transactions of the others too, which have to ask again.
    """

    baudrate: int = 9600
    bytesize: int = 8
    parity: str = "N"
    stopbits: float = 1
    cut: Cutter = cut_lines
    anonymous: bool = False


@dataclass(frozen=True)
class Command:
    """Bytes for one device.

    Attributes
    ----------
    moves : bool
        The command moves hardware or liquids: it must not be sent twice without knowing.
    urgent : bool
        A stop, or a question about one: not to be ended by a stop.
    """

    device: str
    data: bytes
    moves: bool = False
    urgent: bool = False

    def __str__(self) -> str:
        return self.data.decode("ascii", "backslashreplace").strip().encode("unicode_escape").decode()
