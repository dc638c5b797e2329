"""The devices of this host: how they are, and their safe state."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from modules.drivers import DeviceError, LinkLost

from .guard import Guard

log = logging.getLogger(__name__)

SAFE_STATE_S = 2.0
BAD_NEWS_S = 2.0
"""A bad state is shown at least this long, so that a heartbeat carries it."""


class Rack:
    """Drivers by device id, and how each device is.

    Parameters
    ----------
    drivers : Mapping
        Device id → driver.
    guard : Guard
        Knows which devices are held.
    on_grant : collection, optional
        Devices that are connected only while a step holds them.
    """

    def __init__(self, drivers: Mapping[str, Any], guard: Guard, on_grant: Collection[str] = ()) -> None:
        self.drivers = drivers
        self.on_change: Callable[[], None] = lambda: None
        self._guard = guard
        self._on_grant = on_grant
        self._lock = threading.Lock()
        self._connecting: set[str] = set()
        self._since_s: dict[str, float] = {}
        self._states = dict.fromkeys(drivers, "offline")

    # ------------------------------------------------------------------ how they are

    def states(self) -> dict[str, str]:
        """Return the state of each device as this host sees it."""
        return {
            device: "busy" if state == "idle" and self._guard.held(device) else state
            for device, state in self._states.items()
        }

    def usable(self, devices: Mapping[str, str]) -> bool:
        """Whether all devices that are to be used answer: a step on one that does not would only lose its sample."""
        return all(
            self._states.get(device) == "idle"
            for device, mode in devices.items()
            if mode == "use" and device not in self._on_grant
        )

    def note_error(self, error: BaseException) -> None:
        """Remember which device an error came from."""
        device = getattr(error, "device", None)
        if isinstance(error, DeviceError) and device in self._states:
            self.set_state(device, "unknown" if isinstance(error, LinkLost) or error.uncertain else "error")

    def set_state(self, device: str, state: str) -> None:
        """Set what a device is."""
        with self._lock:
            changed = self._states[device] != state
            self._states[device] = state
            self._since_s[device] = time.monotonic()
        if changed:
            log.info("%s is %s", device, state)
            self.on_change()

    def check(self) -> None:
        """Ask every free device that is not idle how it is, each in a thread of its own."""
        now_s = time.monotonic()
        for device, state in list(self._states.items()):
            fresh = state != "offline" and now_s - self._since_s.get(device, 0.0) < BAD_NEWS_S
            if state == "idle" or fresh or self._guard.held(device) or device in self._on_grant:
                continue
            with self._lock:
                if device in self._connecting:
                    continue
                self._connecting.add(device)
            threading.Thread(target=self._connect, args=(device,), name=f"connect {device}", daemon=True).start()

    def _connect(self, device: str) -> None:
        driver = self.drivers[device]
        try:
            driver.connect()
            status = driver.status() if hasattr(driver, "status") else None
            if getattr(status, "state", "") != "error":
                self.set_state(device, "idle")
            elif self._states[device] == "offline":
                self.set_state(device, "error")
        except Exception as error:
            if self._states[device] == "offline":
                log.debug("%s does not answer: %s", device, error)
            else:
                self.set_state(device, "offline")
        finally:
            with self._lock:
                self._connecting.discard(device)

    # ------------------------------------------------------------------ on grant

    def attend(self, devices: Iterable[str]) -> None:
        """Connect the devices that are connected only while a step holds them."""
        for device in devices:
            if device in self._on_grant:
                self.drivers[device].connect()
                self.set_state(device, "idle")

    def leave(self, devices: Iterable[str]) -> None:
        """Disconnect them again."""
        for device in devices:
            if device in self._on_grant:
                self.drivers[device].close()

    # ------------------------------------------------------------------ safe state

    def make_safe(self, devices: Iterable[str], report: Callable[[str, bool, str], None]) -> None:
        """Bring devices to their safe state, all at once, waiting for no lock and no queue.

        ``report(device, confirmed, text)`` is called for each: at the latest after :data:`SAFE_STATE_S`, and once
        more if a late confirmation follows. Returns at once.
        """
        for device in devices:
            if device in self.drivers:
                threading.Thread(
                    target=self._make_safe, args=(device, report), name=f"safe {device}", daemon=True
                ).start()

    def _make_safe(self, device: str, report: Callable[[str, bool, str], None]) -> None:
        done = threading.Event()

        def give_up() -> None:
            if not done.is_set():
                report(device, False, f"no answer within {SAFE_STATE_S:g} s")

        timer = threading.Timer(SAFE_STATE_S, give_up)
        timer.daemon = True
        timer.start()
        try:
            confirmed, text = bool(self.drivers[device].safe_state()), ""
        except Exception as error:
            confirmed, text = False, f"{type(error).__name__}: {error}"
        done.set()
        timer.cancel()
        report(device, confirmed, text)

    def close(self) -> None:
        """Disconnect everything; sends nothing."""
        for device, driver in self.drivers.items():
            try:
                driver.close()
            except Exception as error:
                log.warning("%s could not be closed: %s", device, error)
