"""The module packages that a lab file names: their manifests and their actions."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from modules.contract.lab import Lab
from modules.contract.manifest import Manifest


class PackageError(Exception):
    """A module package cannot be used; the text names it and says what to do."""


@dataclass(frozen=True)
class Module:
    """One module instance that this host serves."""

    instance: str
    manifest: Manifest
    hash: str
    actions: Mapping[str, Callable[..., Any]]
    options: Mapping[str, Any]
    devices: Mapping[str, tuple[str, ...]]
    """Local device name → device ids of the lab."""

    def runs_as_plan(self, action: str) -> bool:
        """Whether the action is a Bluesky plan: a generator function."""
        return inspect.isgeneratorfunction(inspect.unwrap(self.actions[action]))


def load_modules(lab: Lab, host: str) -> dict[str, Module]:
    """Import the packages of all module instances of a host.

    Raises
    ------
    PackageError
        The host has no module, or a package is missing or incomplete.
    """
    instances = lab.host_modules(host)
    if not instances:
        raise PackageError(f"no module of the lab runs on host {host!r}; its hosts are {', '.join(lab.hosts)}")
    return {instance: _load(lab, instance) for instance in instances}


def _load(lab: Lab, instance: str) -> Module:
    section = lab.modules[instance]
    where = f"module {instance!r}: package {section.package!r}"
    try:
        package = importlib.import_module(section.package)
    except ModuleNotFoundError as error:
        if error.name and section.package.startswith(error.name):
            raise PackageError(f"{where} is not installed: install it, or correct `package` in the lab file") from error
        raise PackageError(f"{where} needs {error.name!r}, which is not installed") from error
    except Exception as error:
        raise PackageError(f"{where} cannot be imported: {type(error).__name__}: {error}") from error
    for name in ("manifest", "ACTIONS"):
        if not hasattr(package, name):
            raise PackageError(f"{where} does not offer {name!r}; see docs/architecture.md, “A module package”")
    try:
        manifest = package.manifest(section.options)
    except ValidationError as error:
        raise PackageError(f"{where}: its manifest is not valid: {error}") from error
    except Exception as error:
        raise PackageError(f"{where}: its manifest() fails: {type(error).__name__}: {error}") from error
    if not isinstance(manifest, Manifest):
        raise PackageError(f"{where}: manifest() must return a Manifest, not {type(manifest).__name__}")
    if missing := sorted(manifest.coded - set(package.ACTIONS)):
        raise PackageError(f"{where}: ACTIONS has no {', '.join(map(repr, missing))}, which the manifest declares")
    devices = {local: lab.device_ids(instance, local) for local in manifest.devices}
    people = {person.id for person in lab.people}
    known = {device.id for device in lab.devices} | people
    for local, ids in devices.items():
        if unknown := sorted(set(ids) - known):
            raise PackageError(
                f"{where} needs {local!r}; the lab file has neither [[devices]] nor [[people]] {unknown[0]!r}"
            )
        if len(ids) > 1 and not manifest.devices[local].many:
            raise PackageError(f"{where}: device {local!r} stands for one device, the lab file maps it to {len(ids)}")
    instruments = {local: ids for local, ids in devices.items() if not people & set(ids)}
    return Module(instance, manifest, manifest.hash(), package.ACTIONS, section.options, instruments)
