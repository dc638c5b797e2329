"""The device layer: who holds which device, and whether a command may be sent.

Drivers ask :meth:`Guard.before_command` before each command. The attempt is found by the device, not by the thread:
plans and drivers send from threads of their own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from modules.contract.manifest import DeviceMode
from modules.contract.messages import Latch

from .interruptions import CommandRefused

SPARE_LANES = 32
"""How many attempts that use no device may run beside those that do."""

LAB = "lab"


class Holder(Protocol):
    """An attempt, as the device layer sees it."""

    attempt_id: str

    def before_query(self, device: str) -> None:
        """Raise if the attempt must not even ask any more."""
        ...

    def before_motion(self, device: str, data: bytes) -> None:
        """Put the intent on disk; raise if the command must not be sent."""
        ...


class Guard:
    """Devices, their holders and the emergency stop.

    Parameters
    ----------
    scopes : Mapping
        Device id → module instances that use it.
    on_release : callable, optional
        Called after devices became free.
    """

    def __init__(self, scopes: Mapping[str, frozenset[str]], on_release: Callable[[], None] = lambda: None) -> None:
        self._scopes = scopes
        self.on_release = on_release
        self._lock = threading.Lock()
        self._users: dict[str, Holder] = {}
        self._stills: dict[str, set[str]] = {}
        self._deviceless: set[str] = set()
        self._latches: dict[str, Latch] = {}

    # ------------------------------------------------------------------ holding

    def reserve(self, holder: Holder, devices: Mapping[str, DeviceMode]) -> bool:
        """Give an attempt all its devices, or none of them if one is held in a way that excludes it."""
        me = holder.attempt_id
        with self._lock:
            if not devices:
                if len(self._deviceless) >= SPARE_LANES:
                    return False
                self._deviceless.add(me)
                return True
            for device, mode in devices.items():
                if device in self._users or (mode == "use" and self._stills.get(device)):
                    return False
            for device, mode in devices.items():
                if mode == "use":
                    self._users[device] = holder
                else:
                    self._stills.setdefault(device, set()).add(me)
            return True

    def release(self, holder: Holder, devices: Iterable[str]) -> None:
        """Take the devices back."""
        me = holder.attempt_id
        with self._lock:
            self._deviceless.discard(me)
            for device in devices:
                if self._users.get(device) is holder:
                    del self._users[device]
                self._stills.get(device, set()).discard(me)
        self.on_release()

    def user(self, device: str) -> str:
        """Return the id of the attempt that uses the device, or ""."""
        holder = self._users.get(device)
        return holder.attempt_id if holder is not None else ""

    def held(self, device: str) -> bool:
        """Whether an attempt uses the device."""
        return device in self._users or bool(self._stills.get(device))

    # ------------------------------------------------------------------ emergency stop

    def set_latch(self, latch: Latch) -> bool:
        """Take over a latch; return whether it is news."""
        with self._lock:
            known = self._latches.get(latch.scope)
            if known is not None and known.serial >= latch.serial:
                return False
            self._latches[latch.scope] = latch
            return True

    def tripped(self, module: str, devices: Iterable[str] = ()) -> Latch | None:
        """Return the tripped latch that covers a module instance or one of the devices, if there is one."""
        scopes = {LAB, module}.union(*(self._scopes.get(device, ()) for device in devices))
        return next((latch for latch in self._latches.copy().values() if latch.tripped and latch.scope in scopes), None)

    def devices_in(self, scope: str) -> list[str]:
        """Return the devices that a latch of this scope covers."""
        return [device for device, modules in self._scopes.items() if scope == LAB or scope in modules]

    # ------------------------------------------------------------------ hook

    def before_command(self, device: str, data: bytes, moves: bool) -> None:
        """Let a command pass, or raise.

        Raises
        ------
        CommandRefused
            It moves, and the emergency stop is tripped, nobody holds the device, or the intent cannot be journalled.
        Interruption
            The attempt that holds the device was halted.
        """
        holder = self._users.get(device)
        if not moves:
            if holder is not None:
                holder.before_query(device)
            return
        if (latch := self.tripped(LAB, [device])) is not None:
            raise CommandRefused(
                f"{device}: {readable(data)} was not sent: the emergency stop of {latch.scope} is tripped "
                f"by {latch.actor}. An operator must re-arm it."
            )
        if holder is None:
            still = " (it is reserved as `still`, which forbids motion)" if self._stills.get(device) else ""
            raise CommandRefused(
                f"{device}: {readable(data)} was not sent: no running step uses the device{still}. "
                "Name it as `use` in the step's devices."
            )
        holder.before_motion(device, data)


def readable(data: bytes) -> str:
    """Return a command as text for people."""
    return data.decode("ascii", "backslashreplace").strip().encode("unicode_escape").decode()
