"""What is plugged in: from the address in a lab file to something that can be opened."""

from __future__ import annotations

from pathlib import Path

SIMULATED = "sim://"


def resolve_address(address: str, links: Path | None = None) -> str:
    """Return the path or pyserial URL behind an address.

    Parameters
    ----------
    address : str
        ``sim://arm`` (a simulated instrument: a link in ``links``), a port such as ``/dev/ttyUSB0`` or
        ``COM3``, or a pyserial URL such as ``socket://10.0.0.7:4001``.
    links : pathlib.Path, optional
        The folder in which the simulation keeps its links.

    Raises
    ------
    ValueError
        The address is empty, or simulated while no links folder is known.
    """
    if not address:
        raise ValueError("an instrument's address must not be empty")
    if not address.startswith(SIMULATED):
        return address
    name = address.removeprefix(SIMULATED)
    if not name or "/" in name or name.startswith("."):
        raise ValueError(f"{address!r}: a simulated address is sim:// and one plain name")
    if links is None:
        raise ValueError(f"{address!r} is simulated, but no folder of links was given")
    return str(links / name)
