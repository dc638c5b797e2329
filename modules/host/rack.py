"""The devices of this host: their drivers, one port per address, and how they are."""

from __future__ import annotations

import importlib
import logging
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from modules.contract.clock import Clock
from modules.contract.lab import DeviceSection, Lab
from modules.drivers import DeviceError, LinkLost, SerialPort, driver_settings

from .guard import Guard
from .packages import Module, PackageError

log = logging.getLogger(__name__)

RETRY_S = 2.0
SAFE_STATE_S = 2.0
BAD_NEWS_S = 2.0
"""A bad state is shown at least this long, so that a heartbeat carries it."""

OnWire = Callable[[str, str, bytes], None]


class Rack:
    """Drivers by device id.

    A class that states a ``wire`` gets a :class:`~modules.drivers.port.SerialPort`, which devices of one address
    share; any other class gets the address. The hooks are set on the port, or on the driver itself where it has
    attributes ``before_command`` and ``on_wire``.

    Raises
    ------
    PackageError
        A driver cannot be imported or built; the text names the device.
    """

    def __init__(
        self, lab: Lab, modules: Iterable[Module], clock: Clock, guard: Guard, on_wire: OnWire, links: Path
    ) -> None:
        self._guard = guard
        self._on_wire = on_wire
        self._clock = clock
        self._links = links
        self._ports: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._connecting: set[str] = set()
        self._since_s: dict[str, float] = {}
        self.on_change: Callable[[], None] = lambda: None
        ids = dict.fromkeys(device for module in modules for ids in module.devices.values() for device in ids)
        self._sections = {device: lab.device(device) for device in ids}
        self.drivers = {device: self._build(section) for device, section in self._sections.items()}
        self._states = dict.fromkeys(self.drivers, "offline")

    def _build(self, section: DeviceSection) -> Any:
        where = f"device {section.id!r}: driver {section.driver!r}"
        module_name, _, class_name = section.driver.partition(":")
        try:
            driver_class = getattr(importlib.import_module(module_name), class_name)
        except (ImportError, AttributeError) as error:
            raise PackageError(f"{where} cannot be imported: {error}") from error
        settings = driver_settings(section.options)
        try:
            if not hasattr(driver_class, "wire"):
                driver = driver_class(section.id, section.address, clock=self._clock, **settings)
                for hook, function in (("before_command", self._guard.before_command), ("on_wire", self._on_wire)):
                    if hasattr(driver, hook):
                        setattr(driver, hook, function)
                return driver
            port = self._port(section, driver_class.wire)
            return driver_class(section.id, port, clock=self._clock, **settings)
        except (TypeError, ValueError) as error:
            raise PackageError(f"{where} cannot be set up as the lab file says: {error}") from error

    def _port(self, section: DeviceSection, wire: Any) -> Any:
        port = self._ports.get(section.address)
        if port is None:
            port = self._ports[section.address] = SerialPort(
                section.address,
                wire,
                links=self._links,
                before_command=self._guard.before_command,
                on_wire=self._on_wire,
            )
        elif port.wire != wire:
            raise ValueError(f"{section.address} is shared with a device of other line parameters")
        return port

    # ------------------------------------------------------------------ how they are

    def states(self) -> dict[str, str]:
        """Return the state of each device as this host sees it."""
        return {
            device: "busy" if state == "idle" and self._guard.held(device) else state
            for device, state in self._states.items()
        }

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
            if state == "idle" or fresh or self._guard.held(device) or self._sections[device].connect == "on_grant":
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
            if self._sections[device].connect == "on_grant":
                self.drivers[device].connect()
                self.set_state(device, "idle")

    def leave(self, devices: Iterable[str]) -> None:
        """Disconnect them again."""
        for device in devices:
            if self._sections[device].connect == "on_grant":
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
