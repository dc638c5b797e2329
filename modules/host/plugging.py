"""What is plugged in: drivers from the lab file, one port per address, and the hooks through which octolab watches."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from modules.contract.clock import Clock
from modules.contract.lab import DeviceSection, Lab
from modules.contract.wording import near
from modules.drivers import SerialPort, driver_settings

from .guard import Guard
from .packages import Module, PackageError, load_class
from .rack import Rack

OnWire = Callable[[str, str, bytes], None]


def plug_in(lab: Lab, modules: Iterable[Module], clock: Clock, guard: Guard, on_wire: OnWire, links: Path) -> Rack:
    """Build the drivers of all devices that these modules use. Nothing is connected.

    A class that states a ``wire`` gets a :class:`~modules.drivers.port.SerialPort`, which devices of one address
    share; any other class gets the address. ``links`` is the folder of the simulation's links.

    Raises
    ------
    PackageError
        A driver cannot be imported or built; the text names the device.
    """
    ports: dict[str, SerialPort] = {}
    sections = [lab.device(device) for device in _devices_of(modules)]
    drivers = {section.id: _build(lab, section, ports, clock, links) for section in sections}
    for driver in drivers.values():
        watch(driver, guard, on_wire)
    return Rack(drivers, guard, {section.id for section in sections if section.connect == "on_grant"})


def watch(driver: Any, guard: Guard, on_wire: OnWire) -> None:
    """Set the hooks on the driver's port, or on the driver itself if it has such attributes."""
    place = getattr(driver, "port", driver)
    for hook, function in (("before_command", guard.before_command), ("on_wire", on_wire)):
        if hasattr(place, hook):
            setattr(place, hook, function)


def _devices_of(modules: Iterable[Module]) -> list[str]:
    return list(dict.fromkeys(device for module in modules for ids in module.devices.values() for device in ids))


def _build(lab: Lab, section: DeviceSection, ports: dict[str, SerialPort], clock: Clock, links: Path) -> Any:
    device = f"device {section.id!r}"
    driver_class = load_class(f"{lab.where_device(section.id, 'driver')}: {device}: driver", section.driver)
    settings = driver_settings(section.options)
    if (known := _settings_of(driver_class)) is not None and (unknown := sorted(set(settings) - known)):
        at = lab.where_device(section.id, unknown[0])
        hint = near(unknown[0], {*known, *DeviceSection.model_fields})
        raise PackageError(f"{at}: {device}: its driver knows no setting {unknown[0]!r}{hint}")
    try:
        link = _port(section, driver_class.wire, ports, links) if hasattr(driver_class, "wire") else section.address
        return driver_class(section.id, link, clock=clock, **settings)
    except Exception as error:
        reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise PackageError(
            f"{lab.where_device(section.id)}: {device}: driver {section.driver!r} cannot be set up so: {reason}"
        ) from error


def _settings_of(driver_class: Any) -> set[str] | None:
    """Return the settings that a driver takes; None if it takes any, or does not tell."""
    try:
        parameters = inspect.signature(driver_class).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return {parameter.name for parameter in list(parameters)[2:]} - {"clock"}


def _port(section: DeviceSection, wire: Any, ports: dict[str, SerialPort], links: Path) -> SerialPort:
    port = ports.get(section.address)
    if port is None:
        port = ports[section.address] = SerialPort(section.address, wire, links=links)
    elif port.wire != wire:
        raise ValueError(f"{section.address} is shared with a device of other line parameters")
    return port
