"""``python -m tests.prepare_web``: make a database with a virtual lab and some users; print their tokens as JSON."""

# ruff: noqa: E402  (Django has to be set up before its models are imported)
from __future__ import annotations

import json
import sys
from importlib import import_module

import django

django.setup()

from django.conf import settings
from django.core.management import call_command

from analysis.documents import DocumentStore
from modules.contract.clock import resume
from modules.contract.lab import load
from scheduler.models import Device, Leader, Manifest, Module
from tests.cast import EVERYTHING, make_job
from users import services


def prepare_lab() -> None:
    """Make the lab's rows as its processes would."""
    lab = load(settings.LAB_FILE)
    instance, section = next(iter(lab.modules.items()))
    published = import_module(section.package).manifest(section.options)
    row = Manifest.objects.create(hash=published.hash(), document=published.model_dump(mode="json"))
    Module.objects.create(pk=instance, manifest=row)
    Leader.objects.get_or_create(pk=1)
    for device in lab.devices:
        Device.objects.create(pk=device.id, title=device.title, host="host", modules=[instance], state="idle")
    store = DocumentStore(settings.MONGO_URL)
    resume(store.database, lab.clock.scale, simulated=True)
    store.close()


def main() -> None:
    """Prepare everything."""
    call_command("migrate", verbosity=0)
    prepare_lab()
    people = {}
    for name, operator in (("ann", False), ("ben", False), ("olga", True)):
        user = services.create_user(name, operator=operator)
        people[name] = {"token": services.create_token(user, scopes=EVERYTHING)[1]}
        if "--bare" not in sys.argv:
            job, sample, step = make_job(user, user.personal_project, f"job of {name}")
            people[name] |= {"job": str(job.pk), "sample": str(sample.pk), "step": str(step.pk)}
    print(json.dumps(people))


if __name__ == "__main__":
    main()
