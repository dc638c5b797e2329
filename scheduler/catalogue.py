"""What the lab offers, as the server knows it: the lab file, the manifests in force, and the stocks' facts.

No driver code is imported. A catalogue is made once and kept until something changes; see :func:`current`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from modules.contract import manifest as contract
from modules.contract.lab import Lab, load
from modules.contract.manifest import Manifest

FRESH_S = 1.0
"""How long a catalogue is used before the database is asked whether it still holds (real seconds). One that misses
modules, because their hosts are just starting, is not used a second time without asking."""


class LabNotReady(RuntimeError):  # noqa: N818 - reads as what happened
    """The lab cannot accept jobs at the moment; try again soon."""


@dataclass(frozen=True)
class Place:
    """A kind of place in the lab: vial slots, a storage."""

    id: str
    capacity: int
    resource: contract.Resource
    keepers: dict[str, contract.Resource]
    """Modules that have it, and what each says of it."""

    @property
    def storage(self) -> bool:
        """Whether samples may stay here after their job."""
        return self.resource.storage

    def cleanup(self, instances: Iterable[str]) -> str | None:
        """Return the ``module.task`` that brings a lost sample from here to where it can stay."""
        return self._way_out("cleanup", instances)

    def put_away(self, instances: Iterable[str]) -> str | None:
        """Return the ``module.task`` that does so at the end of a workflow."""
        return self._way_out("put_away", instances)

    def _way_out(self, kind: str, instances: Iterable[str]) -> str | None:
        """Return a task of one of these modules, else of any other."""
        for instance in (*instances, *self.keepers):
            task = getattr(self.keepers.get(instance), kind, None)
            if task is not None:
                return f"{instance}.{task}"
        return None

    def name(self, index: int) -> str:
        """Return the name of a place: ``vial_storage.1.4``."""
        return f"{self.id}.{self.resource.label(index)}"

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {self.name(index): index for index in range(self.capacity)}

    def index(self, name: str) -> int | None:
        """Return the number (from 0) of a named place, None if there is none of that name."""
        return self._indices.get(name)


@dataclass(frozen=True)
class StockFacts:
    """What is known of a stock, apart from how much there is."""

    unit: str
    title: str = ""
    solution: str | None = None
    concentration: str | None = None


class Catalogue:
    """Everything that a job is checked against, apart from people, levels and who stands where.

    Parameters
    ----------
    lab
        The lab file.
    manifests
        Module instance → manifest in force. An instance whose host has never run is missing.
    hashes
        Module instance → hash of its manifest; computed if left out.
    stocks
        Stock id → facts; those of the lab file if left out.
    """

    def __init__(
        self,
        lab: Lab,
        manifests: Mapping[str, Manifest],
        *,
        hashes: Mapping[str, str] | None = None,
        stocks: Mapping[str, StockFacts] | None = None,
    ) -> None:
        self.lab = lab
        self.manifests = dict(manifests)
        self.hashes = dict(hashes) if hashes is not None else {k: m.hash() for k, m in manifests.items()}
        self.stocks = (
            dict(stocks)
            if stocks is not None
            else {s.id: StockFacts(s.unit, s.title, s.solution, s.concentration) for s in lab.stocks}
        )
        self.devices = frozenset((*(device.id for device in lab.devices), *(person.id for person in lab.people)))
        self.compiled: dict[tuple[str, str], Any] = {}
        """Room for what others derive from a task (see :mod:`scheduler.generator.offers`)."""

    @cached_property
    def complete(self) -> bool:
        """Whether every module of the lab has told what it offers."""
        return self.manifests.keys() >= self.lab.modules.keys()

    @cached_property
    def places(self) -> dict[str, Place]:
        """All kinds of places by id."""
        places: dict[str, Place] = {}
        for instance, manifest in self.manifests.items():
            for local, resource in manifest.resources.items():
                place = self.lab.resource_id(instance, local)
                if place not in places:
                    places[place] = Place(place, self.lab.capacity(instance, local, manifest), resource, {})
                places[place].keepers[instance] = resource
        return places

    def place_name(self, resource: str, index: int) -> str:
        """Return what the lab calls a place (number from 0), as jobs name it: ``vial_storage.2.6``."""
        place = self.places.get(resource)
        return place.name(index) if place else f"{resource}.{index + 1}"

    def title(self, thing: str) -> str:
        """Return what people call a device, a person, a module, a kind of place or a stock; the id if nobody says."""
        if thing == "lab":
            return "the whole lab"
        if thing in self.lab.modules:
            return self.lab.modules[thing].title or thing
        if thing in self.lab.resources or thing in self.places:
            return self._place_title(thing)
        if thing in self.stocks:
            return self.stocks[thing].title or thing
        devices = {device.id: device.title for device in self.lab.devices}
        people = {person.id: person.title for person in self.lab.people}
        return devices.get(thing) or people.get(thing) or thing

    def task_title(self, module: str, name: str) -> str:
        """Return what a module calls a task of its own: ``Add a solution``."""
        manifest = self.manifests.get(module)
        known = next((task.title for task in manifest.tasks if task.name == name), "") if manifest is not None else ""
        words = name.replace("_", " ")
        return known or words[:1].upper() + words[1:]

    def _place_title(self, resource: str) -> str:
        """Return what people call a kind of place: ``Vial storage``, ``Batch synthesis: vial slot``."""
        shared = self.lab.resources.get(resource)
        if shared is not None and shared.title:
            return shared.title
        instance, _, name = resource.rpartition(".")
        name = name.replace("_", " ")
        return f"{self.title(instance)}: {name}" if instance else name[:1].upper() + name[1:]

    @cached_property
    def task_names(self) -> tuple[str, ...]:
        """All tasks of all modules, as ``module.task``."""
        return tuple(f"{instance}.{task.name}" for instance, m in self.manifests.items() for task in m.tasks)


def solution_stock(catalogue: Catalogue, instance: str, name: str) -> str | None:
    """Return the stock behind a consumable that a parameter names, None if the module has none of that name."""
    local = name.lower()
    if local not in catalogue.manifests[instance].consumables:
        return None
    return catalogue.lab.stock_id(instance, local)


# --- the one in force ---------------------------------------------------------------------------------------

_lock = threading.Lock()
_cached: tuple[Path, tuple[Any, ...], Catalogue] | None = None
_asked_s = float("-inf")


def current() -> Catalogue:
    """Return the catalogue in force.

    Raises
    ------
    modules.contract.lab.LabFileError
        If the lab file cannot be used.
    """
    global _cached, _asked_s
    from django.conf import settings

    path = Path(settings.LAB_FILE)
    with _lock:
        fresh = time.monotonic() - _asked_s < FRESH_S
        if _cached is not None and _cached[0] == path and fresh and _cached[2].complete:
            return _cached[2]
    state = _state(path)
    with _lock:
        _asked_s = time.monotonic()
        if _cached is not None and _cached[:2] == (path, state):
            return _cached[2]
    catalogue = _load(path, state)
    with _lock:
        _cached = (path, state, catalogue)
        _asked_s = time.monotonic()
    return catalogue


def forget() -> None:
    """Have :func:`current` look anew."""
    global _cached
    with _lock:
        _cached = None


def _state(path: Path) -> tuple[Any, ...]:
    """Return what the catalogue depends on."""
    from .models import Module, Stock

    modules = tuple(Module.objects.order_by("id").values_list("id", "manifest_id"))
    stocks = tuple(Stock.objects.order_by("id").values_list("id", "unit", "title", "solution", "concentration"))
    changed = path.stat().st_mtime_ns if path.exists() else 0
    return changed, modules, stocks


def _load(path: Path, state: tuple[Any, ...]) -> Catalogue:
    from .models import Manifest as StoredManifest

    _, modules, stocks = state
    lab = load(path)
    hashes = {instance: hash_ for instance, hash_ in modules if hash_ is not None and instance in lab.modules}
    documents = StoredManifest.objects.in_bulk(list(hashes.values()))
    manifests = {instance: Manifest.model_validate(documents[hash_].document) for instance, hash_ in hashes.items()}
    facts = {row[0]: StockFacts(*row[1:]) for row in stocks}
    return Catalogue(lab, manifests, hashes=hashes, stocks=facts)
