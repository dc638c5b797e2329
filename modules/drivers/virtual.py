"""Devices that do nothing for a given time: for load tests and teaching.

Plain line protocol, many devices on one line: ``RUN <device> <seconds> [<outcome>]`` is answered ``OK`` at
once and once more, unasked, at the end: ``<id> DONE`` or ``<id> FAILED <text>``. So a run costs one command
and no polling. Outcomes on request: ``fail``, or ``overrun=<factor>``, which takes that many times as long.
``STATE <device>`` is a query, ``HALT <device>`` stops one device.
"""

from __future__ import annotations

from modules.drivers.device import DeviceStatus, remaining
from modules.drivers.errors import Refused
from modules.drivers.line import LineDevice
from modules.drivers.status import ThreadStatus
from modules.drivers.wire import Command


class VirtualDevice(LineDevice):
    """One of any number of devices on a line; Bluesky `Movable` with the time to run as its position."""

    model = "octolab-virtual"

    def run(self, seconds: float, *, fail: bool = False, overrun: float = 1.0) -> None:
        """Be busy.

        Parameters
        ----------
        seconds : float
            Lab seconds.
        fail : bool, optional
            End in a failure.
        overrun : float, optional
            Take this many times as long as announced.

        Raises
        ------
        Refused
            Code ``failed``: the failure that was asked for; ``busy``.
        DeviceError
        """
        stop = self._stop
        wish = ["fail"] if fail else []
        if overrun != 1.0:
            wish.append(f"overrun={overrun:g}")
        number = self._new_id()
        text = " ".join([str(number), "RUN", self.name, f"{seconds:g}", *wish])
        data = text.encode() + b"\n"
        ends = tuple(f"{number} {word}".encode() for word in ("DONE", "FAILED"))
        prefix = f"{number} ".encode()
        self.connect()
        end = self.port.expect(Command(self.name, data, True), lambda m: m.startswith(ends))
        try:
            answer = self._ask(data, lambda m: m.startswith(prefix), moves=True, stop=stop)
            words = answer.decode("utf-8", "replace").split(" ", 3)
            if words[1] == "ERR":
                raise Refused(self.name, f"refused: {words[-1]}", code=words[2], command=text)
            # the end comes by itself, so the wait is one event and no polls
            limit = (seconds * overrun + 60.0) / self.clock.scale + 3.0
            outcome = end.result(limit).decode("utf-8", "replace").split(" ", 2)
        finally:
            end.forget()
        if outcome[1] == "FAILED":
            raise Refused(self.name, f"failed: {outcome[-1]}", code="failed", command=text)

    def status(self) -> DeviceStatus:
        """Return ``idle`` or ``busy`` and the number of runs."""
        fields = self._query("STATE", self.name)
        return DeviceStatus({"moving": "busy"}.get(fields["state"], fields["state"]), dict(fields))

    def set(self, value: float) -> ThreadStatus:
        """Run for ``value`` lab seconds."""
        return ThreadStatus(lambda: self.run(value), f"{self.name} set")

    def _halt(self, deadline: float) -> bool:
        number = self._new_id()
        prefix = f"{number} OK".encode()
        line = f"{number} HALT {self.name}\n".encode()
        self.port.ask_urgent(self.name, line, lambda m: m.startswith(prefix), remaining(deadline))
        return True
