"""The plain line protocol of arm, vial storage, spectrometer and virtual devices.

::

    host        <id> VERB [argument …]\\n        id: 1 … 99999, chosen by the host
    instrument  <id> OK [key=value …]\\n         values as in a shell: quoted when they hold blanks
                <id> ERR <code> [text]\\n
    host        !                               one byte, at any time, even inside a line: stop at once
    instrument  !\\n                             stopped

``ID`` and ``STATUS`` are queries. A motion is answered as soon as it is accepted; ``STATUS`` then shows
``state=moving``, and at the end ``last=<id>`` with ``outcome=done``, ``failed`` or ``stopped``. Because every
answer carries the id of its question, a late one is never mistaken for another. Defined by octolab for
instruments without a public protocol; see ``docs/reference/instruments.md``.
"""

from __future__ import annotations

import random
import shlex
import threading

from modules.drivers.device import DeviceStatus, SerialDevice, remaining
from modules.drivers.errors import BadReply, Refused, Stopped
from modules.drivers.wire import Wire

STOP = b"!"
LAST_ID = 99999


def parse_fields(text: str) -> dict[str, str]:
    """Return the ``key=value`` words of an answer.

    Raises
    ------
    ValueError
        A word without ``=``, or an unbalanced quote.
    """
    fields = {}
    for word in shlex.split(text):
        key, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"{word!r} is not key=value")
        fields[key] = value
    return fields


class LineDevice(SerialDevice):
    """A device that speaks the plain line protocol."""

    wire = Wire(baudrate=115200)
    model = ""
    """What the instrument must answer to ``ID`` as ``model``."""

    _ids = random.Random()
    _id_lock = threading.Lock()

    def _new_id(self) -> int:
        # random, so that after a restart of the host an old answer does not fit a new question
        with self._id_lock:
            return self._ids.randint(1, LAST_ID)

    def _query(self, verb: str, *arguments: object) -> dict[str, str]:
        return self._command(verb, *arguments, moves=False)[1]

    def _command(
        self, verb: str, *arguments: object, moves: bool, stop: threading.Event | None = None
    ) -> tuple[int, dict[str, str]]:
        """Send a command; return its id and the fields of the answer.

        Raises
        ------
        Refused
            The instrument answered ``ERR``.
        """
        number = self._new_id()
        line = " ".join([str(number), verb, *map(str, arguments)])
        prefix = f"{number} ".encode()
        answer = self._ask(line.encode() + b"\n", lambda m: m.startswith(prefix), moves=moves, stop=stop)
        kind, _, rest = answer[len(prefix) :].decode("utf-8", "replace").partition(" ")
        if kind == "ERR":
            code, _, text = rest.partition(" ")
            raise Refused(self.name, f"refused: {text or code}", code=code, command=line)
        try:
            if kind != "OK":
                raise ValueError(kind)
            return number, parse_fields(rest)
        except ValueError as error:
            raise BadReply(self.name, f"answered {answer!r}", command=line, uncertain=moves) from error

    def _move(self, verb: str, *arguments: object, limit: float) -> dict[str, str]:
        """Carry out a motion and return the status at its end; ``limit`` in lab seconds."""
        stop = self._stop
        number, _ = self._command(verb, *arguments, moves=True, stop=stop)
        what = " ".join([verb, *map(str, arguments)])
        status: dict[str, str] = {}

        def finished() -> bool:
            status.update(self._query("STATUS"))
            return status.get("state") != "moving"

        self._wait(finished, limit, stop, what)
        outcome = status.get("outcome")
        if status.get("last") != str(number):
            raise BadReply(
                self.name,
                "forgot the motion it had accepted: it was restarted, or somebody else commands it",
                command=what,
                uncertain=True,
            )
        if outcome == "stopped":
            raise Stopped(self.name, f"was stopped during {what}", command=what, uncertain=True)
        if outcome != "done":
            text = status.get("text") or status.get("code", "failed")
            raise Refused(self.name, f"{what} failed: {text}", code=status.get("code", ""), command=what)
        return status

    def _identify(self) -> None:
        model = self._query("ID").get("model", "")
        if model != self.model:
            raise BadReply(self.name, f"says it is a {model!r}, not a {self.model!r}", command="ID")

    def status(self) -> DeviceStatus:
        """Ask for the instrument's ``STATUS`` line; its fields are the detail.

        Raises
        ------
        DeviceError
        """
        fields = self._query("STATUS")
        state = {"moving": "busy"}.get(fields.get("state", ""), fields.get("state", "error"))
        if state == "idle" and fields.get("homed") == "0":
            state = "unhomed"
        return DeviceStatus(state, dict(fields))

    def _halt(self, deadline: float) -> bool:
        return self.port.ask_urgent(self.name, STOP, lambda message: message == STOP, remaining(deadline)) == STOP
