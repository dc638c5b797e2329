"""One serial port: its lock, its reader thread, its hooks.

A transaction (write, wait for the answer) holds the port's lock; waiting for a motion does not. One thread
reads, and hands each message to the transaction that accepts it; a message nobody waits for is dropped, so an
answer that comes too late cannot be taken for the next one. An urgent stop is written at once, whoever holds
the lock.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import serial

from modules.drivers.address import SIMULATED, resolve_address
from modules.drivers.errors import BadReply, DeviceError, LinkLost, Stopped, Timeout
from modules.drivers.waiter import Waiter
from modules.drivers.wire import Command, Wire

try:
    from termios import error as TermiosError  # noqa: N812 - it is a class
except ImportError:  # Windows
    TermiosError = OSError  # type: ignore[misc, assignment]

BeforeCommand = Callable[[str, bytes, bool], None]
OnWire = Callable[[str, str, bytes], None]

QUIET_S = 0.05
WRITE_LOCK_S = 0.05


class SerialPort:
    """A port that one or, on a bus, several devices share.

    Parameters
    ----------
    address : str
        See `modules.drivers.address.resolve_address`.
    wire : Wire
        The line's parameters; take them from the driver class (``SyringePump.wire``).
    links : pathlib.Path, optional
        Folder of the simulation's links, for ``sim://`` addresses.
    answer_timeout : float, optional
        Real seconds to wait for an answer.
    before_command : callable, optional
        ``before_command(device, data, moves)`` runs before every command is written, repeats included. What
        it raises refuses the command. It is not asked about urgent stops.
    on_wire : callable, optional
        ``on_wire(device, direction, data)`` with direction ``"tx"`` or ``"rx"`` sees everything, urgent stops
        too. It runs in the reader thread and must not block.
    """

    def __init__(
        self,
        address: str,
        wire: Wire,
        *,
        links: Path | None = None,
        answer_timeout: float = 1.0,
        before_command: BeforeCommand | None = None,
        on_wire: OnWire | None = None,
    ) -> None:
        self.address = address
        self.wire = wire
        self.answer_timeout = answer_timeout
        self.generation = 0
        self.before_command = before_command
        self.on_wire = on_wire
        self._path = resolve_address(address, links)
        self._target = ""
        self._serial: Any = None
        self._reader: threading.Thread | None = None
        self._buffer = bytearray()
        self._waiters: list[Waiter] = []
        self._users: set[str] = set()
        self._speaking = ""
        self._heard_at = 0.0
        self._suspicious = False
        self._lock = threading.Lock()
        self._state_lock = threading.RLock()
        self._write_lock = threading.RLock()

    # ------------------------------------------------------------------ opening and closing

    @property
    def connected(self) -> bool:
        """True while the port is open and has not been lost."""
        return self._serial is not None

    def open(self, device: str) -> None:
        """Open the port if it is not open; writes nothing.

        Raises
        ------
        LinkLost
            There is no such port, or somebody else has it.
        """
        # a simulation that was killed leaves a link behind that may lead elsewhere until it is back
        target = os.path.realpath(self._path)
        if self._serial is not None and target != self._target:
            self._drop("leads elsewhere now", self._serial)
        with self._state_lock:
            self._users.add(device)
            if self._serial is not None:
                return
            self._target = target
            try:
                # exclusive: two hosts on one instrument is how commands get mixed up
                self._serial = serial.serial_for_url(
                    self._path,
                    baudrate=self.wire.baudrate,
                    **self._frame(),
                    stopbits=self.wire.stopbits,
                    timeout=None,
                    # generous: on a busy machine pyserial counts the time after the write, too
                    write_timeout=3.0,
                    **({} if "://" in self._path else {"exclusive": True}),
                )
            except (OSError, serial.SerialException, TermiosError) as error:
                raise LinkLost(device, f"cannot open {self.address} ({self._path}): {error}") from error
            self._buffer.clear()
            self.generation += 1
            self._reader = threading.Thread(
                target=self._read, args=(self._serial,), name=f"port {self.address}", daemon=True
            )
            self._reader.start()

    def _frame(self) -> dict[str, Any]:
        """Return data bits and parity. A pty has 8 and none, and says so to whoever opens it a second time."""
        if self.address.startswith(SIMULATED):
            return {"bytesize": 8, "parity": "N"}
        return {"bytesize": self.wire.bytesize, "parity": self.wire.parity}

    def close(self, device: str) -> None:
        """Take a device off the port; the last one closes it."""
        with self._state_lock:
            self._users.discard(device)
            if self._users:
                return
        self._drop("was closed", self._serial)

    def _drop(self, why: str, link: Any) -> None:
        with self._state_lock:
            if link is None or self._serial is not link:
                return
            reader, self._serial, self._reader = self._reader, None, None
            waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            command = waiter.command
            unsure = command.moves and waiter.written
            problem = f"the link {self.address} {why}"
            waiter.fail(LinkLost(command.device, problem, command=str(command), uncertain=unsure))
        if hasattr(link, "cancel_read"):
            with contextlib.suppress(OSError, AttributeError):
                link.cancel_read()
        if reader is not None and reader is not threading.current_thread():
            reader.join(1.0)
        # not while somebody writes: the descriptor's number may be another file's a moment later
        with self._write_lock, contextlib.suppress(OSError, serial.SerialException):
            link.close()

    # ------------------------------------------------------------------ reading

    def _read(self, link: Any) -> None:
        try:
            while self._serial is link:
                data = link.read(1)
                if waiting := link.in_waiting:
                    data += link.read(waiting)
                if data:
                    self._hear(data)
        except (OSError, serial.SerialException, TypeError) as error:
            # TypeError: pyserial's way to say that the port was closed under it
            self._drop(f"was lost ({error})", link)

    def _hear(self, data: bytes) -> None:
        if self.on_wire is not None:
            self.on_wire(self._speaking, "rx", data)
        with self._state_lock:
            self._heard_at = time.monotonic()
            self._buffer += data
            takers = [self._hand_on(message) for message in self.wire.cut(self._buffer)]
            if not any(takers):
                for waiter in self._waiters:
                    if waiter.listening:
                        waiter.noise(data)

    def _hand_on(self, message: bytes) -> bool:
        for waiter in self._waiters:
            if waiter.listening and not waiter.done and waiter.accept(message):
                waiter.put(message)
                return True
        return False

    def distrust(self) -> None:
        """Let the line fall quiet before the next command, and forget half messages: an answer is missing."""
        with self._state_lock:
            self._heard_at = time.monotonic()
            self._suspicious = True

    # ------------------------------------------------------------------ transactions

    @contextlib.contextmanager
    def _transaction(self, command: Command) -> Iterator[None]:
        patience = 4 * self.answer_timeout
        if not self._lock.acquire(timeout=patience):
            problem = f"the port {self.address} stayed busy for {patience:g} s"
            raise Timeout(command.device, problem, command=str(command))
        try:
            yield
        finally:
            self._lock.release()

    def ask(
        self,
        command: Command,
        accept: Callable[[bytes], bool],
        *,
        timeout: float | None = None,
        stop: threading.Event | None = None,
    ) -> bytes:
        """Write a command and return the first message that ``accept`` takes.

        Parameters
        ----------
        command : Command
            What to write, and for whom.
        accept : callable
            ``accept(message)`` is true for the answer to this command.
        timeout : float, optional
            Real seconds; the port's ``answer_timeout`` by default.
        stop : threading.Event, optional
            Once set, nothing of this operation is written any more.

        Raises
        ------
        LinkLost, Timeout, BadReply, Stopped
        """
        with self._transaction(command):
            waiter = Waiter(command, accept, self)
            waiter.listening = False  # until the command is written: what comes before is no answer to it
            with self._state_lock:
                self._waiters.insert(0, waiter)  # before those who only listen
            try:
                self._send(command, waiter, stop)
                return waiter.result(self.answer_timeout if timeout is None else timeout)
            finally:
                waiter.forget()

    def tell(self, command: Command, *, stop: threading.Event | None = None) -> None:
        """Write a command that is not answered, or whose answer somebody else expects."""
        with self._transaction(command):
            self._send(command, None, stop)

    def expect(self, command: Command, accept: Callable[[bytes], bool]) -> Waiter:
        """Wait for a message without holding the port, e.g. for the end of a long command."""
        waiter = Waiter(command, accept, self)
        with self._state_lock:
            self._waiters.append(waiter)
        return waiter

    def forget(self, waiter: Waiter) -> None:
        """Hand it nothing any more."""
        with self._state_lock, contextlib.suppress(ValueError):
            self._waiters.remove(waiter)

    def _send(self, command: Command, waiter: Waiter | None, stop: threading.Event | None) -> None:
        if self.before_command is not None:
            self.before_command(command.device, command.data, command.moves)
        while True:
            self._let_settle()
            with self._write_lock:
                if self._suspicious:
                    continue  # an urgent stop came in between
                # under the write lock: a stop that is written next is certain to come after this command
                if stop is not None and stop.is_set():
                    raise Stopped(command.device, "was stopped before this command", command=str(command))
                if waiter is not None:
                    waiter.written = waiter.listening = True
                self._speaking = command.device
                self._write(command)
                return

    def _let_settle(self) -> None:
        if not self._suspicious:
            return
        while (wait := self._heard_at + QUIET_S - time.monotonic()) > 0:
            time.sleep(wait)
        with self._state_lock:
            self._buffer.clear()
            self._suspicious = False

    def _write(self, command: Command) -> None:
        link = self._serial
        if link is None:
            raise LinkLost(command.device, f"the link {self.address} is down", command=str(command))
        if self.on_wire is not None:
            self.on_wire(command.device, "tx", command.data)
        try:
            link.write(command.data)
        except (OSError, serial.SerialException, TypeError) as error:
            self._drop(f"was lost ({error})", link)
            raise LinkLost(
                command.device,
                f"cannot write to {self.address}: {error}",
                command=str(command),
                uncertain=command.moves,
            ) from error

    # ------------------------------------------------------------------ stopping

    def urgent(self, device: str, data: bytes) -> bool:
        """Write at once, whoever holds the port, and end the device's own transactions with `Stopped`.

        Returns
        -------
        bool
            Whether the bytes were handed to the port. That is no proof that the instrument has stopped.
        """
        held = self._write_lock.acquire(timeout=WRITE_LOCK_S)
        try:
            self._end_transactions(device)
            self._write(Command(device, data, urgent=True))
            sent = True
        except DeviceError:
            sent = False
        finally:
            if held:
                self._write_lock.release()
        return sent

    def _end_transactions(self, device: str) -> None:
        with self._state_lock:
            waiting = [waiter for waiter in self._waiters if not waiter.command.urgent]
        for waiter in waiting:
            command, text = waiter.command, str(waiter.command)
            if command.device == device:
                waiter.fail(Stopped(device, "was stopped", command=text, uncertain=command.moves))
            elif self.wire.anonymous:
                problem = f"was disturbed by a stop for {device} on the same bus"
                waiter.fail(BadReply(command.device, problem, command=text, uncertain=command.moves))
        if self.wire.anonymous:
            self.distrust()

    def ask_urgent(self, device: str, data: bytes, accept: Callable[[bytes], bool], timeout: float) -> bytes:
        """Write like `urgent`, and return the first message that ``accept`` takes.

        Raises
        ------
        LinkLost, Timeout, BadReply
        """
        waiter = Waiter(Command(device, data, urgent=True), accept, self)
        with self._state_lock:
            self._waiters.insert(0, waiter)
        try:
            if not self.urgent(device, data):
                raise LinkLost(device, f"cannot write to {self.address}", command=str(waiter.command))
            return waiter.result(timeout)
        finally:
            waiter.forget()
