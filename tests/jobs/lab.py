"""The shipped labs, as the server knows them."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from typing import Any

from modules.contract.lab import Lab, load
from modules.contract.manifest import Manifest
from scheduler.catalogue import Catalogue

ROOT = Path(__file__).resolve().parents[2]
LABS = ROOT / "octolab" / "labs"
EXAMPLES = ROOT / "octolab" / "examples"


def manifests(lab: Lab) -> dict[str, Manifest]:
    """Return what the lab's modules publish."""
    return {
        instance: importlib.import_module(section.package).manifest(section.options)
        for instance, section in lab.modules.items()
    }


@cache
def catalogue(name: str) -> Catalogue:
    """Return the catalogue of a shipped lab."""
    lab = load(LABS / f"{name}.toml")
    return Catalogue(lab, manifests(lab))


def example(name: str) -> str:
    """Return the text of a shipped example."""
    return (EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8")


def store(name: str) -> None:
    """Write the lab's manifests, modules, places and stocks into the database, as its first start does."""
    from scheduler.models import Manifest as StoredManifest
    from scheduler.models import Module, Place, Stock

    known = catalogue(name)
    for instance, manifest in known.manifests.items():
        hash_ = known.hashes[instance]
        StoredManifest.objects.get_or_create(hash=hash_, defaults={"document": manifest.model_dump(mode="json")})
        Module.objects.create(id=instance, manifest_id=hash_)
    Place.objects.bulk_create(
        Place(resource=place.id, index=index) for place in known.places.values() for index in range(place.capacity)
    )
    Stock.objects.bulk_create(
        Stock(
            id=stock.id,
            title=stock.title,
            unit=stock.unit,
            level=stock.level,
            warn_below=stock.warn_below,
            solution=stock.solution,
            concentration=stock.concentration,
        )
        for stock in known.lab.stocks
    )


def messages(problems: Any) -> dict[str, str]:
    """Return path → message of problems."""
    return {problem.path: problem.message for problem in problems}
