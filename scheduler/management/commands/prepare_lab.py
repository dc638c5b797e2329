"""``manage.py prepare_lab``: anchor lab time and write what the lab file states. Harmless to repeat."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.db.models import Max

from analysis.documents import DocumentStore, StoreUnavailableError
from modules.contract.clock import resume
from modules.contract.lab import Lab, LabFileError, load
from scheduler.models import Device, Event, Leader, Module, Place, Stock


class Command(BaseCommand):
    """See the module's docstring."""

    help = "Anchor lab time and create the lab file's devices, shared places and stocks."

    def add_arguments(self, parser: Any) -> None:
        """Add ``--scale``."""
        parser.add_argument("--scale", type=float, help="lab seconds per real second; the lab file's value by default")

    def handle(self, *args: Any, **options: Any) -> None:
        """Prepare the lab; call this only while no other process of the lab runs."""
        try:
            lab = load(settings.LAB_FILE)
        except LabFileError as error:
            raise CommandError(str(error)) from error
        scale = options.get("scale") or lab.clock.scale
        if scale != 1 and not lab.simulated:
            raise CommandError("the time scale must be 1 as long as a device is a real one: hardware cannot hurry")
        store = DocumentStore(settings.MONGO_URL)
        try:
            store.prepare()
            last_s = Event.objects.aggregate(last_s=Max("lab_s"))["last_s"] or 0.0
            clock = resume(store.database, scale, simulated=lab.simulated, at_least_s=last_s)
        except StoreUnavailableError as error:
            raise CommandError(f"{error}: start it, then prepare the lab again") from error
        finally:
            store.close()
        with transaction.atomic():
            _write(lab)
        self.stdout.write(f"{lab.name}: lab time {clock.now():.0f} s, {clock.scale:g} lab seconds per second")


def _write(lab: Lab) -> None:
    Leader.objects.get_or_create(id=1)
    for instance in lab.modules:
        Module.objects.get_or_create(id=instance)
    for section in lab.devices:
        # Which modules use it is known when their manifests arrive.
        values = {"title": section.title or section.id}
        host = lab.hosts[0] if len(lab.hosts) == 1 else ""
        Device.objects.update_or_create(id=section.id, defaults=values, create_defaults={**values, "host": host})
    for person in lab.people:
        Device.objects.update_or_create(id=person.id, defaults={"title": person.title or person.id})
    for resource, shared in lab.resources.items():
        there = set(Place.objects.filter(resource=resource).values_list("index", flat=True))
        Place.objects.bulk_create(
            Place(resource=resource, index=index) for index in range(shared.capacity) if index not in there
        )
    for stock in lab.stocks:
        # The level is the lab file's only at the first set-up; afterwards the server counts.
        facts: dict[str, Any] = {"title": stock.title or stock.id, "unit": stock.unit, "warn_below": stock.warn_below}
        facts |= {"solution": stock.solution, "concentration": stock.concentration}
        Stock.objects.update_or_create(id=stock.id, defaults=facts, create_defaults={**facts, "level": stock.level})
