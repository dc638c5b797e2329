"""The lab file: everything one octolab server schedules, in one TOML file.

See ``docs/reference/lab-file.md`` for every key, and the shipped files in ``octolab/labs/``. A bad file is
refused with the line and the reason (:class:`LabFileError`).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator, model_validator

from .hours import Hours, HoursError, parse
from .interlocks import InterlockSection
from .manifest import Manifest, Name
from .toml_lines import Lines
from .wording import DOTTED_PATTERN, NAME_PATTERN, MisplacedError, near, sentences

Id = Annotated[str, Field(pattern=NAME_PATTERN)]
DottedPath = Annotated[str, Field(pattern=DOTTED_PATTERN)]


class LabFileError(ValueError):
    """The lab file cannot be used; the text names the file, the line and the reason."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClockSection(_Model):
    """How lab time runs. Only a simulated lab may run faster than real time."""

    scale: float = Field(default=1.0, gt=0, le=10_000)


class DeviceSection(_Model):
    """One physical instrument. Keys that are not listed here are settings of its driver."""

    model_config = ConfigDict(extra="allow", frozen=True)

    id: Id
    title: str = ""
    driver: DottedPath
    """Class of the driver: ``modules.drivers.arm:RobotArm``, or ``my_package.module:Class``."""
    address: str = ""
    """A serial device, ``host:port``, or ``sim://<name>`` for an instrument of the simulation."""
    simulator: DottedPath | None = None
    """Class that stands in for the instrument in a simulated lab."""
    connect: Literal["at_start", "on_grant"] = "at_start"

    @property
    def simulated(self) -> bool:
        """Whether the device is one of the simulation."""
        return self.address.startswith("sim://")

    @property
    def options(self) -> dict[str, Any]:
        """Settings of the driver: all keys that octolab itself does not know."""
        return dict(self.model_extra or {})


class PersonSection(_Model):
    """Somebody who does steps by hand: a person, or whoever has a duty. Steps occupy a person as they do a device."""

    id: Id
    title: str = ""
    hours: str | None = None
    """When steps may be asked for, by the lab's clock: ``Mon-Fri 08:00-18:00, Sat 09:00-12:00``; always if left out."""


class ModuleSection(_Model):
    """One module instance."""

    package: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*$")]
    """An importable package with ``manifest`` and ``actions`` (see ``octolab.sdk``)."""
    host: Id = "host"
    title: str = ""
    devices: dict[Name, Id | tuple[Id, ...]] = {}
    """Local device name → device id(s). A name that is left out maps to the device of the same id."""
    resources: dict[Name, Id] = {}
    """Local resource name → resource id of the lab, for places that several modules share."""
    stocks: dict[Name, Id] = {}
    """Local consumable name → stock id. A name that is left out maps to the stock of the same id."""
    options: dict[str, Any] = {}
    """Handed to the package's ``manifest(options)`` and to its actions."""


class ResourceSection(_Model):
    """Places that several modules share, or another capacity than the manifest's."""

    capacity: int = Field(ge=1)
    title: str = ""


class StockSection(_Model):
    """What there is of a consumable when the lab is first set up; afterwards the server counts."""

    id: Id
    title: str = ""
    unit: str
    level: float = Field(ge=0)
    """In ``unit``."""
    warn_below: float = Field(default=0, ge=0)
    solution: str | None = None
    """Chemical name, for stocks that go into samples: ``Citrate``."""
    concentration: str | None = None
    """Text with a unit: ``20 mM``."""


class Lab(_Model):
    """The lab file's content."""

    name: str
    timezone: str = "UTC"
    seed: int = 0
    clock: ClockSection = ClockSection()
    modules: dict[Id, ModuleSection]
    devices: tuple[DeviceSection, ...] = ()
    people: tuple[PersonSection, ...] = ()
    resources: dict[Id, ResourceSection] = {}
    stocks: tuple[StockSection, ...] = ()
    interlocks: tuple[InterlockSection, ...] = ()

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{zone!r} is not an IANA time zone such as 'Europe/Berlin'") from error
        return zone

    _path: Path | None = PrivateAttr(default=None)
    _lines: Lines = PrivateAttr(default_factory=Lines)

    @model_validator(mode="after")
    def _ids_resolve(self) -> Lab:
        for kind, sections in (
            ("stock", {"stocks": self.stocks}),
            ("interlock", {"interlocks": self.interlocks}),
            ("device or person", {"devices": self.devices, "people": self.people}),
        ):
            _refuse_twins(kind, sections)
        for index, person in enumerate(self.people):
            try:
                self._hours(person)
            except HoursError as error:
                raise MisplacedError(f"person {person.id!r}: {error}", "people", index, "hours") from error
        known = {*(device.id for device in self.devices), *(person.id for person in self.people)}
        for instance, module in self.modules.items():
            for local, target in module.devices.items():
                for device in (target,) if isinstance(target, str) else target:
                    if device not in known:
                        raise MisplacedError(
                            f"module {instance!r} maps its device {local!r} to {device!r}, "
                            f"which [[devices]] does not define, nor [[people]]{near(device, known)}",
                            *("modules", instance, "devices", local),
                        )
        self._check_interlocks({device.id for device in self.devices})
        if self.clock.scale != 1 and not self.simulated:
            raise MisplacedError(
                "clock.scale must be 1 as long as a device is a real one: hardware cannot hurry", "clock", "scale"
            )
        return self

    def _check_interlocks(self, devices: set[str]) -> None:
        for index, interlock in enumerate(self.interlocks):
            if interlock.device not in devices:
                raise MisplacedError(
                    f"interlock {interlock.id!r} reads {interlock.device!r}, which [[devices]] does not define"
                    f"{near(interlock.device, devices)}",
                    *("interlocks", index, "reading"),
                )
            known = {*self.modules, "lab"} if interlock.does == "estop" else {*self.modules, *devices}
            if wrong := [cover for cover in interlock.covers if cover not in known]:
                what = "a module or `lab`" if interlock.does == "estop" else "a device or module"
                raise MisplacedError(
                    f"interlock {interlock.id!r} covers {wrong[0]!r}, which is not {what}{near(wrong[0], known)}",
                    *("interlocks", index, "covers"),
                )

    def _hours(self, person: PersonSection) -> Hours | None:
        return None if person.hours is None else parse(person.hours, ZoneInfo(self.timezone))

    @property
    def duty(self) -> dict[str, Hours | None]:
        """Person → when steps may be asked for; None for always."""
        return {person.id: self._hours(person) for person in self.people}

    @property
    def simulated(self) -> bool:
        """Whether no real instrument is part of the lab."""
        return all(device.simulated for device in self.devices)

    def written_in(self, path: Path, lines: Lines) -> Lab:
        """Remember where the lab is written, for :meth:`where`; return the lab."""
        self._path, self._lines = path, lines
        return self

    @property
    def folder(self) -> Path | None:
        """The folder of the lab file; None for a lab that is written in no file."""
        return self._path.parent.resolve() if self._path else None

    def where(self, *location: str | int) -> str:
        """Return ``lab.toml:12`` for what stands at a path: ``where("modules", "furnace", "package")``."""
        return f"{self._path}:{self._lines.of(location)}" if self._path else "the lab file"

    def where_device(self, device_id: str, key: str = "id") -> str:
        """Return file and line of a key of a device's section."""
        index = next((n for n, device in enumerate(self.devices) if device.id == device_id), 0)
        return self.where("devices", index, key)

    def device(self, device_id: str) -> DeviceSection:
        """Return a device's section; raise ``KeyError`` if there is none."""
        for device in self.devices:
            if device.id == device_id:
                return device
        raise KeyError(device_id)

    def device_ids(self, instance: str, local: str) -> tuple[str, ...]:
        """Return the device ids that a local device name stands for."""
        target = self.modules[instance].devices.get(local, local)
        return (target,) if isinstance(target, str) else target

    def resource_id(self, instance: str, local: str) -> str:
        """Return the lab-wide id of a module's resource: shared, or ``<instance>.<local>``."""
        return self.modules[instance].resources.get(local, f"{instance}.{local}")

    def capacity(self, instance: str, local: str, manifest: Manifest) -> int:
        """Return how many places the resource has."""
        section = self.resources.get(self.resource_id(instance, local))
        return section.capacity if section else manifest.resources[local].capacity

    def stock_id(self, instance: str, local: str) -> str:
        """Return the stock that a module's consumable is taken from."""
        return self.modules[instance].stocks.get(local, local)

    def host_modules(self, host: str) -> tuple[str, ...]:
        """Return the module instances that a host serves."""
        return tuple(name for name, module in self.modules.items() if module.host == host)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names of all hosts, sorted."""
        return tuple(sorted({module.host for module in self.modules.values()}))


def load(path: Path | str) -> Lab:
    """Read and check a lab file.

    Raises
    ------
    LabFileError
        Naming the file, the line where the mistake stands, and what would be right.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise LabFileError(f"{path}: the lab file cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise LabFileError(f"{path}: the lab file must be text in UTF-8: byte {error.start} is not") from error
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise LabFileError(_not_toml(path, text, str(error))) from error
    lines = Lines(text)
    try:
        lab = Lab.model_validate(data)
    except ValidationError as error:
        raise LabFileError(
            "\n".join(
                f"{path}:{lines.of(location)}: {'.'.join(map(str, location)) or 'the file'}: {sentence}"
                for location, sentence in sentences(error, Lab, data)
            )
        ) from error
    return lab.written_in(path, lines)


def _not_toml(path: Path, text: str, reason: str) -> str:
    """Return file, line and reason from the parser's words: ``Expected '=' … (at line 3, column 5)``."""
    at = re.search(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)", reason)
    line = at[1] if at and at[1] else str(max(1, len(text.splitlines())))
    column = f" (column {at[2]})" if at and at[2] else ""
    return f"{path}:{line}: this is not TOML: {reason[: at.start()] if at else reason}{column}"


def _refuse_twins(kind: str, sections: Mapping[str, Sequence[Any]]) -> None:
    seen: set[str] = set()
    for table, entries in sections.items():
        for index, entry in enumerate(entries):
            if entry.id in seen:
                raise MisplacedError(f"{kind} {entry.id!r} is defined twice", table, index, "id")
            seen.add(entry.id)
