"""``python -m tests.prepare_web``: make a database with a virtual lab and some users; print their tokens as JSON.

``--bare`` without jobs; ``--full`` with passwords, an administrator, and something of everything that a user may own,
marked so that a test can tell if somebody else gets to see it.
"""

# ruff: noqa: E402  (Django has to be set up before its models are imported)
from __future__ import annotations

import json
import secrets
import sys
from importlib import import_module
from pathlib import Path

import django

django.setup()

from django.conf import settings
from django.core.management import call_command
from django.utils import timezone

from analysis.documents import DocumentStore
from modules.contract.clock import resume
from modules.contract.lab import load
from notifications.models import Channel
from scheduler.models import Device, Event, Job, Leader, Manifest, Module, Sample, Task
from tests.analysis.measured import measure
from tests.cast import EVERYTHING, make_job
from users import services
from users.models import Project, User

PASSWORD = "a long and quiet afternoon"


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


def mark(user: User, job: Job, sample: Sample) -> dict[str, str]:
    """Give a user one of everything, with a word in each text that nobody else may read."""
    marker = f"zq{secrets.token_hex(8)}"
    Job.objects.filter(pk=job.pk).update(name=marker, spec={"name": marker, "description": marker})
    Sample.objects.filter(pk=sample.pk).update(name=marker, parameters={"secret": marker})
    Task.objects.filter(job=job).update(key=marker)
    Event.objects.filter(job=job).update(actor=marker, reason=marker, data={"marker": marker})
    Event.objects.create(
        seq=Event.objects.count() + 1, at=timezone.now(), lab_s=1, kind="device", subject="virtual_1", actor=marker,
        reason=marker, data={"marker": marker},
    )  # fmt: skip
    Leader.objects.update(last_event_seq=Event.objects.count())
    Project.objects.filter(pk=job.project_id).update(name=marker)
    channel = Channel.objects.create(user=user, name=marker, url=f"json://127.0.0.1:9/{marker}")
    token = services.create_token(user, marker, scopes=["jobs:read"])[0]
    team = services.create_project(user, f"team-{user.username}", marker)
    store = DocumentStore(settings.MONGO_URL)
    job.refresh_from_db()
    sample.refresh_from_db()
    sample.job = job
    result = measure(store, Path(settings.DATA_ROOT), sample, task=marker, values={marker: {"value": 1.0, "unit": ""}})
    store.close()
    return {
        "marker": marker,
        "channel": str(channel.pk),
        "other_token": str(token.uid),
        "team": team.slug,
        "file": Path(next(iter(result["arrays"].values()))["file"]).name,
    }


def main() -> None:
    """Prepare everything."""
    call_command("migrate", verbosity=0)
    prepare_lab()
    people = {}
    full = "--full" in sys.argv
    cast = [("ann", False, False), ("ben", False, False), ("olga", True, False), ("ada", False, True)]
    for name, operator, admin in cast if full else cast[:3]:
        user = services.create_user(name, PASSWORD if full else None, operator=operator, admin=admin)
        people[name] = {"token": services.create_token(user, scopes=EVERYTHING)[1]}
        if "--bare" not in sys.argv:
            job, sample, step = make_job(user, user.personal_project, f"job of {name}")
            people[name] |= {"job": str(job.pk), "sample": str(sample.pk), "step": str(step.pk)}
            if full:
                people[name] |= mark(user, job, sample)
    print(json.dumps(people))


if __name__ == "__main__":
    main()
