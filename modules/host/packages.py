"""The module packages that a lab file names: their manifests and their actions."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel, ValidationError

from modules.contract import manifest as manifest_format
from modules.contract.lab import Lab
from modules.contract.manifest import Manifest
from modules.contract.wording import near, sentences

HOW_TO = "see docs/how-to/write-a-module.md"


class PackageError(Exception):
    """A module package cannot be used; the text names file and line, and says what to do."""


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
    return {instance: load_module(lab, instance) for instance in instances}


def load_module(lab: Lab, instance: str) -> Module:
    """Import the package of one module instance, and see that lab file, manifest and actions fit each other.

    Raises
    ------
    PackageError
    """
    section = lab.modules[instance]
    package = _imported(lab, instance)
    manifest = _manifest(lab, instance, package)
    _check_actions(package, manifest)
    devices = _devices(lab, instance, manifest)
    people = {person.id for person in lab.people}
    instruments = {local: ids for local, ids in devices.items() if not people & set(ids)}
    return Module(instance, manifest, manifest.hash(), package.ACTIONS, section.options, instruments)


def _imported(lab: Lab, instance: str) -> ModuleType:
    name = lab.modules[instance].package
    where = f"{lab.where('modules', instance, 'package')}: module {instance!r}: package {name!r}"
    try:
        package = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise PackageError(f"{where} is not installed{_like(name)} {_how_to_find(lab, name)}") from error
        raise PackageError(f"{where} needs {error.name!r}, which is not installed") from error
    except SyntaxError as error:
        raise PackageError(f"{error.filename}:{error.lineno}: {error.msg} (of {where})") from error
    except Exception as error:
        at = line_in(error, name)
        raise PackageError(f"{at or where}: {name!r} cannot be imported: {type(error).__name__}: {error}") from error
    for offer in ("manifest", "ACTIONS"):
        if not hasattr(package, offer):
            raise PackageError(f"{package.__file__}:1: {name!r} does not offer {offer!r}; {HOW_TO}")
    return package


def _how_to_find(lab: Lab, name: str) -> str:
    folder = lab.folder
    if folder is not None and (folder / name.partition(".")[0]).is_dir():
        return f"It stands beside the lab file: start with PYTHONPATH={folder}, or install it beside octolab"
    return "Install it beside octolab, or correct `package`"


def _like(name: str) -> str:
    """Return the name of an installed package that may be meant."""
    parent, dot, last = name.rpartition(".")
    try:
        paths = importlib.import_module(parent).__path__ if dot else None
    except (ImportError, AttributeError):
        return "."
    hint = near(last, (found.name for found in pkgutil.iter_modules(paths)))
    return f"; did you mean '{parent}{dot}{hint.split(chr(39))[1]}'?" if "did you mean" in hint else "."


def _manifest(lab: Lab, instance: str, package: ModuleType) -> Manifest:
    section = lab.modules[instance]
    name = section.package
    try:
        manifest = package.manifest(section.options)
    except Exception as error:
        at = line_in(error, name) or str(package.__file__)
        invalid = next((e for e in (error, error.__cause__) if isinstance(e, ValidationError)), None)
        if invalid is None:
            reason = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
            raise PackageError(f"{at}: manifest() of module {instance!r} fails: {reason}") from error
        model = getattr(manifest_format, invalid.title, None)
        if model is None:
            raise PackageError(_bad_options(lab, instance, invalid)) from error
        wrong = (
            f"{at}: {'.'.join((invalid.title, *map(str, place)))}: {text}" for place, text in sentences(invalid, model)
        )
        raise PackageError("\n".join(wrong)) from error
    if not isinstance(manifest, Manifest):
        raise PackageError(f"{place_of(package.manifest)}: manifest() must return a Manifest, not {manifest!r:.60}")
    return manifest


def _bad_options(lab: Lab, instance: str, error: ValidationError) -> str:
    """Return what is wrong with a module's options, which the package checks with a model of its own."""
    section = lab.modules[instance]
    own = (module for name, module in list(sys.modules.items()) if f"{name}.".startswith(f"{section.package}."))
    model = next((found for module in own if (found := getattr(module, error.title, None)) is not None), BaseModel)
    place = ("modules", instance, "options")
    return "\n".join(
        f"{lab.where(*place, *rest)}: {'.'.join(map(str, (*place, *rest)))}: {text}"
        for rest, text in sentences(error, model, section.options)
    )


def _check_actions(package: ModuleType, manifest: Manifest) -> None:
    actions, file = package.ACTIONS, f"{package.__file__}"
    if not isinstance(actions, Mapping):
        raise PackageError(f"{file}: ACTIONS must be a mapping from action names to functions, not {actions!r:.60}")
    for name in sorted(manifest.coded - set(actions)):
        users = ", ".join(
            f"task {t.name!r}, step {s.name!r}" for t in manifest.tasks for s in t.steps if s.action == name
        )
        what = f"ACTIONS has no {name!r}, which the manifest declares{f' and {users} wants' if users else ''}"
        raise PackageError(f"{file}: {what}{near(name, map(str, actions))}")
    for name, function in actions.items():
        if wrong := _misshapen(function):
            raise PackageError(
                f"{place_of(function) or file}: action {name!r} {wrong}; "
                f"an action takes the context and nothing else: `def {name}(ctx):`"
            )


def _misshapen(function: Any) -> str:
    if not callable(function):
        return f"is no function but {function!r:.60}"
    plain = inspect.unwrap(function)
    if inspect.iscoroutinefunction(plain) or inspect.isasyncgenfunction(plain):
        return "is async, and nothing would wait for it"
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return ""  # what is written in C does not tell
    try:
        signature.bind(object())
    except TypeError as error:
        return f"cannot be called with a context alone ({error})"
    return ""


def _devices(lab: Lab, instance: str, manifest: Manifest) -> dict[str, tuple[str, ...]]:
    """Return the device ids behind each name of the manifest, once all that the lab file maps is there."""
    section = lab.modules[instance]
    for kind, given, declared in (
        ("device", section.devices, manifest.devices),
        ("resource", section.resources, manifest.resources),
        ("stock", section.stocks, manifest.consumables),
    ):
        for local in given:
            if local not in declared:
                at = lab.where("modules", instance, f"{kind}s", local)
                word = "consumable" if kind == "stock" else kind
                raise PackageError(
                    f"{at}: {section.package!r} has no {word} {local!r}{near(local, declared)} "
                    f"Left of the `=` stands the module's own word"
                )
    known = {*(device.id for device in lab.devices), *(person.id for person in lab.people)}
    devices = {local: lab.device_ids(instance, local) for local in manifest.devices}
    for local, ids in devices.items():
        at = lab.where("modules", instance, "devices", local)
        if unknown := sorted(set(ids) - known):
            raise PackageError(
                f"{at}: {section.package!r} needs a device {local!r}, and the lab file has neither [[devices]] nor "
                f'[[people]] {unknown[0]!r}: add it, or map it: `devices = {{ {local} = "<device id>" }}`'
                f"{near(unknown[0], known)}"
            )
        if len(ids) > 1 and not manifest.devices[local].many:
            raise PackageError(f"{at}: device {local!r} stands for one device, the lab file maps it to {len(ids)}")
    return devices


def load_class(where: str, path: str) -> Any:
    """Return the class at ``package.module:Class``.

    Raises
    ------
    PackageError
        It begins with ``where`` and tells what is missing.
    """
    name, _, wanted = path.partition(":")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise PackageError(f"{where}: there is no module {name!r}{_like(name)}") from error
        raise PackageError(f"{where}: {name!r} needs {error.name!r}, which is not installed") from error
    except Exception as error:
        at = line_in(error, name)
        reason = f"{type(error).__name__}: {error}"
        raise PackageError(f"{where}: {name!r} cannot be imported: {reason}{at and f' ({at})'}") from error
    if not isinstance(found := getattr(module, wanted, None), type):
        classes = (n for n, one in vars(module).items() if isinstance(one, type) and one.__module__ == name)
        raise PackageError(f"{where}: {name!r} has no class {wanted!r}{near(wanted, classes)}")
    return found


def line_in(error: BaseException, package: str) -> str:
    """Return the file and line of a package at which an error came up; "" if it was nowhere in it."""
    top = package.partition(".")[0] if not package.startswith("modules.") else package.replace(".", "/")
    frames: Iterable[traceback.FrameSummary] = reversed(traceback.extract_tb(error.__traceback__))
    return next(
        (f"{f.filename}:{f.lineno}" for f in frames if f"/{top}/" in f.filename or Path(f.filename).stem == top), ""
    )


def place_of(function: Any) -> str:
    """Return the file and line of a function; "" for what has none."""
    code = getattr(inspect.unwrap(function) if callable(function) else None, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else ""
