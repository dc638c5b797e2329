"""Tecan Cavro XCalibur syringe pumps: OEM protocol, up to 15 pumps on one bus.

Source: Tecan Systems, *Cavro XCalibur / XLP 6000 Modular Syringe Pump Operating Manual*, chapter 3: command
block ``STX address sequence data ETX checksum``, answer block ``STX '0' status data ETX checksum``, checksum
= all bytes XORed; sequence byte ``0011 R sss`` with the repeat flag R. A pump that receives a repeated
sequence number with the flag set acknowledges without executing: a command whose answer was lost is safely
sent again.
"""

from __future__ import annotations

import math
import time
from threading import Event, Lock

from modules.drivers.clock import Clock
from modules.drivers.device import DeviceStatus, SerialDevice, remaining
from modules.drivers.errors import BadReply, DeviceError, Refused, Timeout
from modules.drivers.framing import ETX, STX, cut_blocks, xor_checksum
from modules.drivers.port import SerialPort
from modules.drivers.wire import Wire

FULL_STROKE = 3000
SLOWEST, FASTEST = 5, 5800
MASTER = ord("0")
READY = 0x20
ERRORS = {
    1: "initialization failed",
    2: "invalid command",
    3: "invalid operand",
    4: "invalid command sequence",
    5: "fluid detection",
    6: "EEPROM failure",
    7: "not initialized",
    9: "plunger overload",
    10: "valve overload",
    11: "plunger move not allowed",
    15: "command overflow: a motion is still under way",
}
NOT_INITIALIZED = 7
TRIES = 3


def command_block(address: int, sequence: int, text: str, *, repeat: bool = False) -> bytes:
    """Return the block for a pump.

    Parameters
    ----------
    address : int
        1 … 15, one more than the pump's address switch.
    sequence : int
        1 … 7; must differ from the one before, unless repeated.
    text : str
        Printable command string, e.g. ``"ZR"``.
    repeat : bool, optional
        The block was sent before and not answered.
    """
    head = bytes([STX, 0x30 + address, 0x30 | (repeat << 3) | sequence]) + text.encode("ascii") + bytes([ETX])
    return head + bytes([xor_checksum(head)])


def parse_answer(block: bytes) -> tuple[int, str]:
    """Return status byte and data of an answer block.

    Raises
    ------
    ValueError
        Not an answer to the master, or a wrong checksum.
    """
    if len(block) < 5 or block[0] != STX or block[-2] != ETX or block[1] != MASTER:
        raise ValueError("not an answer block")
    if xor_checksum(block[:-1]) != block[-1]:
        raise ValueError("wrong checksum")
    return block[2], block[3:-2].decode("ascii", "replace")


class SyringePump(SerialDevice):
    """One pump on the bus; input port to the reservoir, output port to the nozzle.

    Parameters
    ----------
    name, port, clock
        See `SerialDevice`. Pumps on one bus share the port.
    bus_address : int, optional
        1 … 15, one more than the pump's address switch.
    syringe_ul : float, optional
        Volume of a full stroke in µL.
    """

    wire = Wire(baudrate=9600, cut=cut_blocks, anonymous=True)

    def __init__(
        self,
        name: str,
        port: SerialPort,
        *,
        clock: Clock | None = None,
        bus_address: int = 1,
        syringe_ul: float = 1000.0,
    ) -> None:
        super().__init__(name, port, clock=clock)
        if not 1 <= bus_address <= 15:
            raise ValueError(f"{name}: bus_address must be 1 to 15, not {bus_address}")
        if syringe_ul <= 0:
            raise ValueError(f"{name}: syringe_ul must be positive, not {syringe_ul}")
        self.bus_address = bus_address
        self.syringe_ul = syringe_ul
        self._sequence = 0
        self._turn = Lock()

    # ------------------------------------------------------------------ blocks

    def _exchange(self, text: str, *, moves: bool = False, stop: Event | None = None) -> tuple[int, str]:
        """Send a command string; on a lost answer send it again, marked as repeated.

        One at a time for this pump: another block in between would make the pump take the repeat for a new
        command.
        """
        self.connect()
        with self._turn:
            return self._exchange_in_turn(text, moves, stop)

    def _exchange_in_turn(self, text: str, moves: bool, stop: Event | None) -> tuple[int, str]:
        self._sequence = self._sequence % 7 + 1
        sequence = self._sequence
        for attempt in range(TRIES):
            block = command_block(self.bus_address, sequence, text, repeat=attempt > 0)
            try:
                answer = self._ask(block, _is_answer, moves=moves, stop=stop)
                return parse_answer(answer)
            except (Timeout, BadReply) as error:
                problem: DeviceError = error
            except ValueError as error:
                self.port.distrust()
                problem = BadReply(self.name, f"answered {answer!r}: {error}", command=text, uncertain=moves)
            if not moves:
                # a repeated query is acknowledged without its data: ask anew instead
                self._sequence = sequence = sequence % 7 + 1
        raise type(problem)(self.name, f"{problem.problem}, {TRIES} times", command=text, uncertain=moves)

    def _run(self, text: str, limit: float, stop: Event) -> None:
        """Execute a command string and wait for its end; ``limit`` in lab seconds."""
        status, _ = self._exchange(text, moves=True, stop=stop)
        self._raise_for(status, text)
        self._last_command = text

        def ready() -> bool:
            status, _ = self._exchange("Q", stop=stop)
            self._raise_for(status, text)
            return bool(status & READY)

        self._wait(ready, limit, stop, text)

    def _raise_for(self, status: int, text: str) -> None:
        if code := status & 0x0F:
            raise Refused(self.name, ERRORS.get(code, f"error {code}"), code=str(code), command=text)

    # ------------------------------------------------------------------ what it can do

    def initialize(self) -> None:
        """Drive the plunger to its zero. What the syringe holds leaves through the nozzle.

        Raises
        ------
        DeviceError
        """
        self._run("ZR", 60.0, self._stop)

    def dispense(self, volume_ul: float, rate_ul_s: float) -> float:
        """Draw from the reservoir and deliver through the nozzle, in as many strokes as needed.

        Parameters
        ----------
        volume_ul : float
            In µL; rounded to the pump's increment (`syringe_ul` / 3000).
        rate_ul_s : float
            Speed of both directions in µL/s.

        Returns
        -------
        float
            The volume that was delivered, in µL.

        Raises
        ------
        ValueError
            Volume or rate cannot be done by this syringe.
        DeviceError
            With the volume that was delivered before in its text.
        """
        per_ul = FULL_STROKE / self.syringe_ul
        speed = round(2 * rate_ul_s * per_ul)  # the pump counts speed in half increments per second
        total = round(volume_ul * per_ul)
        if total < 1:
            raise ValueError(f"{self.name}: {volume_ul:g} µL is less than one increment of the pump")
        if not SLOWEST <= speed <= FASTEST:
            low, high = (limit / 2 / per_ul for limit in (SLOWEST, FASTEST))
            raise ValueError(f"{self.name}: {rate_ul_s:g} µL/s is outside {low:.3g} to {high:.3g} µL/s")
        stop, left = self._stop, total
        strokes = math.ceil(total / FULL_STROKE)
        for number in range(strokes, 0, -1):
            increments = math.ceil(left / number)
            try:
                self._stroke(increments, speed, stop)
            except DeviceError as error:
                done = (total - left) / per_ul
                error.args = (f"{error} Delivered before this stroke: {done:.1f} of {volume_ul:g} µL.",)
                raise
            left -= increments
        return total / per_ul

    def _stroke(self, increments: int, speed: int, stop: Event) -> None:
        seconds = 4 * increments / speed + 5
        self._run(f"V{speed}IA{increments}OA0R", 2 * seconds, stop)
        # the bus cannot tell a late answer from a new one, so "ready" alone proves nothing
        if (position := self.position()) != 0:
            raise BadReply(
                self.name,
                f"stopped with the plunger at {position} instead of 0",
                command=self._last_command,
                uncertain=True,
            )

    def position(self) -> int:
        """Return the plunger's position in increments, 0 (empty) … 3000."""
        for _ in range(TRIES):
            _, data = self._exchange("?")
            if data.isdigit():
                return int(data)
            # a late answer to something else, most likely: let what is still on its way arrive
            self.port.distrust()
        raise BadReply(self.name, f"gave {data!r} as plunger position", command="?")

    def status(self) -> DeviceStatus:
        """Return ready or busy, the pump's error, and the plunger's position in increments."""
        status, _ = self._exchange("Q")
        code = status & 0x0F
        detail = {"error": ERRORS.get(code, ""), "plunger_increments": self.position()}
        if code:
            return DeviceStatus("unhomed" if code == NOT_INITIALIZED else "error", detail)
        return DeviceStatus("idle" if status & READY else "busy", detail)

    def _identify(self) -> None:
        _, data = self._exchange("&")
        if not data:
            raise BadReply(self.name, "gave no firmware version", command="&")

    def _halt(self, deadline: float) -> bool:
        # terminate; a block of its own sequence number, so that a repeat of the stopped command cannot match
        # it
        self._sequence = self._sequence % 7 + 1
        block = command_block(self.bus_address, self._sequence, "T")
        self.port.urgent(self.name, block)
        while time.monotonic() < deadline:
            self._sequence = self._sequence % 7 + 1
            query = command_block(self.bus_address, self._sequence, "Q")
            try:
                status, _ = parse_answer(self.port.ask_urgent(self.name, query, _is_answer, remaining(deadline)))
            except ValueError:
                continue
            if status & READY:
                # this may have been another pump's, asked before the stop; the one after it is ours, whether
                # it answers the terminate or the query
                again, _ = parse_answer(self.port.ask_urgent(self.name, query, _is_answer, remaining(deadline)))
                if again & READY:
                    return True
        return False


def _is_answer(block: bytes) -> bool:
    return len(block) > 1 and block[1] == MASTER
