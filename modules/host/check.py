"""Whether a lab can run as its file says, found out before anything of it starts.

Everything is loaded as the hosts would load it, and nothing is connected.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modules.contract.clock import LabClock
from modules.contract.lab import Lab
from modules.contract.units import canonical
from modules.contract.wording import near
from modules.drivers.address import SIMULATED

from .guard import Guard
from .packages import Module, PackageError, load_class, load_module, place_of
from .plugging import plug_in


def mistakes(lab: Lab) -> list[str]:
    """Return what keeps the lab from running, each with file and line; empty if nothing does."""
    found: list[str] = []
    modules: dict[str, Module] = {}
    for instance in lab.modules:
        try:
            modules[instance] = load_module(lab, instance)
        except PackageError as error:
            found.append(str(error))
    found += _plugging(lab, modules)
    found += _simulators(lab)
    found += _units(lab, modules)
    if len(modules) == len(lab.modules):
        found += _sharing(lab, modules)
    return list(dict.fromkeys(found))


def _plugging(lab: Lab, modules: Mapping[str, Module]) -> Iterator[str]:
    clock = LabClock.starting_now(scale=1.0)
    with tempfile.TemporaryDirectory() as links:
        for module in modules.values():
            try:
                plug_in(lab, [module], clock, Guard({}), lambda *_: None, Path(links)).close()
            except PackageError as error:
                yield str(error)


def _simulators(lab: Lab) -> Iterator[str]:
    mixed = any(device.simulated for device in lab.devices)
    for device in lab.devices:
        at = f"{lab.where_device(device.id, 'simulator')}: device {device.id!r}"
        if mixed and device.simulator is not None and not device.simulated:
            yield f"{at} has the real address {device.address!r} and a `simulator`: leave one of both out"
        if device.simulated and device.simulator is None:
            yield f"{at} has an address that begins with {SIMULATED}, and no `simulator` that stands behind it"
        elif device.simulated and device.simulator is not None:
            try:
                load_class(f"{at}: simulator", device.simulator)
            except PackageError as error:
                yield str(error)


def _units(lab: Lab, modules: Mapping[str, Module]) -> Iterator[str]:
    for index, stock in enumerate(lab.stocks):
        if not _is_unit(stock.unit):
            yield f"{lab.where('stocks', index, 'unit')}: stock {stock.id!r}: there is no unit {stock.unit!r}"
    for module in modules.values():
        package = lab.modules[module.instance].package
        for what, unit in _units_of(module):
            if not _is_unit(unit):
                yield f"{place_of(sys.modules[package].manifest)}: {package!r}: {what}: there is no unit {unit!r}"


def _units_of(module: Module) -> Iterator[tuple[str, str]]:
    manifest = module.manifest
    for name, consumable in manifest.consumables.items():
        yield f"consumable {name!r}", consumable.unit
    for name, device in manifest.devices.items():
        for setting, value in device.settings.items():
            yield f"setting '{name}.{setting}'", value.unit
    for task in manifest.tasks:
        for name, schema in task.parameters.get("properties", {}).items():
            yield f"task {task.name!r}, parameter {name!r}", _unit_in(schema)
        for result in task.results:
            yield f"task {task.name!r}, result {result.name!r}", result.unit


def _unit_in(schema: Any) -> str:
    return str(schema.get("unit", "")) if isinstance(schema, Mapping) else ""


def _is_unit(unit: str) -> bool:
    known = canonical(unit)
    return known in ("1", "s", "µL", "mL", "degC", "nm", "rpm", "mM") or _pint_knows(known)


def _pint_knows(unit: str) -> bool:
    global _registry
    try:
        if _registry is None:
            import pint

            _registry = pint.UnitRegistry(cache_folder=None)
        _registry.parse_units(unit)
    except Exception:  # pint raises whatever its tokenizer does
        return False
    return True


_registry: Any = None


def _sharing(lab: Lab, modules: Mapping[str, Module]) -> Iterator[str]:
    """What only all modules together show: devices on two hosts, places and stocks that nobody has."""
    host_of: dict[str, str] = {}
    places: set[str] = set()
    stocks = {stock.id for stock in lab.stocks}
    for instance, module in modules.items():
        host = lab.modules[instance].host
        places |= {lab.resource_id(instance, local) for local in module.manifest.resources}
        for device in sorted({device for ids in module.devices.values() for device in ids}):
            if host_of.setdefault(device, host) != host and lab.device(device).connect == "at_start":
                yield (
                    f"{lab.where('modules', instance, 'host')}: module {instance!r} shares device {device!r} with a "
                    f"module on host {host_of[device]!r}, so it needs the same `host`"
                )
        for local in module.manifest.consumables:
            if (stock := lab.stock_id(instance, local)) not in stocks:
                yield (
                    f"{lab.where('modules', instance, 'stocks', local)}: module {instance!r} uses {local!r}, and the "
                    f"lab file has no [[stocks]] {stock!r}{near(stock, stocks)}"
                )
    for resource in lab.resources:
        if resource not in places:
            yield f"{lab.where('resources', resource)}: no module has places {resource!r}{near(resource, places)}"
