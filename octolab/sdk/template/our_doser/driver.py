"""The doser's driver: what is said on the wire, and what the answers mean.

::

    computer    DOSE 12.5 CR LF     begin to dose so many mg
    doser       OK CR LF            or ERR and why
    computer    MASS? CR LF         doser   MASS 12.503 CR LF        in mg
    computer    STATE? CR LF        doser   STATE idle CR LF         or dosing
    computer    EMPTY CR LF         doser   OK CR LF
    computer    STOP CR LF          doser   STOPPED CR LF            at any time
"""

from __future__ import annotations

from octolab.sdk import BadReply, Clock, DeviceStatus, Refused, SerialDevice, SerialPort, Wire, remaining


class Doser(SerialDevice):
    """A powder doser with a balance.

    Parameters
    ----------
    name, port, clock
        octolab gives them.
    max_mass_mg : float, optional
        A setting in the lab file: more than this is refused before anything is sent.
    """

    wire = Wire(baudrate=9600, bytesize=8, parity="N")

    def __init__(self, name: str, port: SerialPort, *, clock: Clock | None = None, max_mass_mg: float = 500.0) -> None:
        super().__init__(name, port, clock=clock)
        self.max_mass_mg = max_mass_mg

    # what the actions use

    def start(self, mass_mg: float) -> None:
        """Begin to dose; returns at once."""
        if not 0 < mass_mg <= self.max_mass_mg:
            raise ValueError(f"{self.name}: doses up to {self.max_mass_mg:g} mg, not {mass_mg:g}")
        self._command(f"DOSE {mass_mg:g}")

    def is_dosing(self) -> bool:
        """Tell whether powder still flows."""
        return self._query("STATE") == "dosing"

    def mass_mg(self) -> float:
        """Return what the balance shows, in mg."""
        answer = self._query("MASS")
        try:
            return float(answer)
        except ValueError as error:
            raise BadReply(self.name, f"answered {answer!r}, which is no mass", command="MASS?") from error

    def stop(self) -> None:
        """End a dose before it is complete."""
        self._ask(b"STOP\r\n", lambda line: line == b"STOPPED")

    def empty(self) -> None:
        """Empty the cup."""
        self._command("EMPTY")

    # what octolab asks every device

    def _identify(self) -> None:
        """Questions only: whether the right instrument answers. Called at every (re)connect."""
        self._query("STATE")

    def status(self) -> DeviceStatus:
        """Return how the instrument is, with its figures; their names end in the unit."""
        busy = self.is_dosing()
        return DeviceStatus("busy" if busy else "idle", {"mass_mg": self.mass_mg()})

    def _halt(self, deadline: float) -> bool:
        """Stop at once; return True only if the instrument itself said so before ``deadline``."""
        stopped = self.port.ask_urgent(self.name, b"STOP\r\n", lambda line: line == b"STOPPED", remaining(deadline))
        return stopped == b"STOPPED"

    # the wire

    def _query(self, what: str) -> str:
        prefix = f"{what} ".encode()
        answer = self._ask(f"{what}?\r\n".encode(), lambda line: line.startswith(prefix))
        return answer[len(prefix) :].decode("ascii", "replace").strip()

    def _command(self, text: str) -> None:
        """Send what moves something: octolab looks whether it may, writes it down, and never sends it twice."""
        answer = self._ask(f"{text}\r\n".encode(), _is_verdict, moves=True, stop=self._stop)
        if answer != b"OK":
            raise Refused(self.name, f"refused: {answer[4:].decode('ascii', 'replace')}", command=text)


def _is_verdict(line: bytes) -> bool:
    return line == b"OK" or line.startswith(b"ERR")
