"""``python -m tests.prepare_pages``: a lab in which everything is the case at once that a page can show; prints JSON.

``ada`` is an admin, ``olga`` an operator, ``ann`` a scientist with a job in every state, ``eve`` has nothing yet.
"""

# ruff: noqa: E402, E501  (Django has to be set up before its models are imported; rows of data read best as rows)
from __future__ import annotations

import io
import json
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import django

django.setup()

from django.conf import settings
from django.core.management import call_command
from django.utils import timezone

from analysis.documents import DocumentStore
from modules.contract.lab import load
from modules.contract.messages import Latch
from notifications.models import Channel
from octolab.ids import new_id
from scheduler.models import (
    Device,
    Event,
    Interlock,
    Job,
    Leader,
    MaintenanceLock,
    Manifest,
    Module,
    Place,
    Step,
    Stock,
)
from scheduler.services.jobs import submit_job
from scheduler.states import JobState, SampleState, StepState
from tests.analysis import measured
from tests.prepare_web import PASSWORD
from users import services
from users.models import Project, User

EXAMPLES = Path(settings.BASE_DIR) / "octolab" / "examples"
MANY = 120
LONG = "Silver nanoparticles with_a_name_that_somebody_has_made_by_a_script_and_that_never_ends_" + "0123456789" * 9


def prepare_lab(store: DocumentStore) -> None:
    """Make the lab's rows as its processes would; the scheduler has just been there."""
    call_command("prepare_lab", stdout=io.StringIO())
    lab = load(settings.LAB_FILE)
    used: dict[str, list[str]] = {}
    for instance, section in lab.modules.items():
        published = import_module(section.package).manifest(section.options)
        row, _ = Manifest.objects.get_or_create(hash=published.hash(), document=published.model_dump(mode="json"))
        Module.objects.filter(pk=instance).update(manifest=row)
        for local in published.devices:
            for device in lab.device_ids(instance, local):
                used.setdefault(device, []).append(instance)
        for local in published.resources:
            resource, capacity = lab.resource_id(instance, local), lab.capacity(instance, local, published)
            there = set(Place.objects.filter(resource=resource).values_list("index", flat=True))
            Place.objects.bulk_create(Place(resource=resource, index=n) for n in range(capacity) if n not in there)
    for device in Device.objects.all():
        Device.objects.filter(pk=device.pk).update(modules=used.get(device.pk, []), state="idle", host="host")
    Leader.objects.filter(pk=1).update(renewed_at=timezone.now() + timedelta(hours=1))


def submit(user: User, example: str, state: str = "", **changes: Any) -> Job:
    """Submit an example and put it into a state."""
    job, _ = submit_job(user=user, document=(EXAMPLES / f"{example}.yaml").read_text(), project=user.personal_project)
    Job.objects.filter(pk=job.pk).update(**({"state": state} if state else {}), **changes)
    job.refresh_from_db()
    return job


def begin(job: Job, number: int, state: str, *, reason: str = "", done: str = StepState.COMPLETED) -> Step:
    """Put the first steps of a job into a final state, and the next into another one; return that."""
    steps = list(job.steps.filter(dormant=False).order_by("index")[: number + 1])
    for index, step in enumerate(steps[:-1]):
        Step.objects.filter(pk=step.pk).update(state=done, started_lab_s=60.0 * index, ended_lab_s=60.0 * index + 50)
    Step.objects.filter(pk=steps[-1].pk).update(
        state=state, attempt=1, started_lab_s=60.0 * number, reason=reason, granted_at=timezone.now()
    )
    Job.objects.filter(pk=job.pk).update(steps_done=number, started_lab_s=0.0)
    plan_s = 60.0 * number + 60
    for step in job.steps.filter(planned_start_lab_s=None, dormant=False):
        Step.objects.filter(pk=step.pk).update(planned_start_lab_s=plan_s, planned_end_lab_s=plan_s + step.duration_s)
        plan_s += step.duration_s
    return steps[-1]


def log(job: Job, kind: str, subject: object, old: str, new: str, actor: str = "", reason: str = "") -> None:
    """Write an event."""
    seq = Event.objects.count() + 1
    Event.objects.create(
        seq=seq, at=timezone.now(), lab_s=float(seq), kind=kind, subject=str(subject), job=job, project=job.project,
        state_from=old, state_to=new, actor=actor, reason=reason,
    )  # fmt: skip
    Leader.objects.filter(pk=1).update(last_event_seq=seq)


def jobs_of(user: User, store: DocumentStore) -> dict[str, str]:
    """Make a job in every state."""
    Stock.objects.update(level=10_000)
    made: dict[str, Job] = {
        "awaiting_approval": submit(
            user, "silver-with-a-look", JobState.AWAITING_APPROVAL,
            state_reason="Waits for an operator's approval: the project has people.confirm_colour approved.",
        ),
        "refused": submit(
            user, "silver-with-a-look", JobState.CANCELLED, state_reason="rejected by olga: no peroxide on Sundays",
            finished_lab_s=1.0,
        ),
        "queued": submit(
            user, "silver-nanoparticles", predicted_start_lab_s=7200.0, predicted_finish_lab_s=32_000.0,
            predicted_start_low_lab_s=7000.0, predicted_start_high_lab_s=9000.0, predicted_finish_low_lab_s=31_000.0,
            predicted_finish_high_lab_s=39_000.0,
        ),
        "needs_operator": submit(user, "silver-nanoparticles", JobState.NEEDS_OPERATOR, state_reason="a step was interrupted"),
        "running": submit(user, "silver-nanoparticles", JobState.RUNNING, predicted_finish_lab_s=30_000.0),
        "human": submit(user, "silver-with-a-look", JobState.RUNNING),
        "failed": submit(user, "uv-only", JobState.FAILED, state_reason="all samples have failed", samples_failed=2, finished_lab_s=500.0),
        "cancelled": submit(user, "home", JobState.CANCELLED, state_reason="cancelled by ann: wrong vials", finished_lab_s=9.0),
        "paused": submit(user, "silver-nanoparticles", JobState.PAUSED, state_reason="paused by ann: lunch"),
        "held": submit(user, "silver-nanoparticles", JobState.HELD, name=LONG, state_reason="held by ann"),
        "cancelling": submit(user, "silver-nanoparticles", JobState.CANCELLING),
    }  # fmt: skip
    begin(made["running"], 7, StepState.RUNNING)
    begin(made["paused"], 4, StepState.PAUSED)
    begin(made["cancelling"], 4, StepState.RUNNING)
    broken = begin(
        made["needs_operator"],
        6,
        StepState.INTERRUPTED,
        reason="the host has lost its lease while the step was running",
    )
    first = made["needs_operator"].samples.order_by("index").first()
    assert first is not None
    free = Place.objects.filter(sample=None, resource="batch_synthesis.vial_slot").order_by("index").first()
    assert free is not None
    Place.objects.filter(pk=free.pk).update(sample=first, since_lab_s=100.0)
    Device.objects.filter(pk__in=broken.devices).update(
        state="unknown", reason="an interrupted step has left it", attempt_id=f"{broken.block}/1"
    )
    human = made["human"].steps.get(person=True)
    place = Place.objects.filter(sample=None, resource="batch_synthesis.vial_slot").order_by("index").first()
    assert place is not None
    Place.objects.filter(pk=place.pk).update(sample=made["human"].samples.get(), since_lab_s=200.0)
    Step.objects.filter(pk=human.pk).update(state=StepState.DISPATCHED, attempt=1, granted_at=timezone.now())
    sample = made["failed"].samples.order_by("index").first()
    assert sample is not None
    made["failed"].samples.update(state=SampleState.FAILED, reason="the vial was empty")
    begin(made["failed"], 3, StepState.FAILED, reason="pipette: no answer within 2 s to the last command")
    stored = Place.objects.filter(sample=None, resource="vial_storage").order_by("-index").first()
    assert stored is not None
    Place.objects.filter(pk=stored.pk).update(sample=sample, since_lab_s=300.0)
    done = measured.make_job(user, samples=3)
    for number, vial in enumerate(done.samples.order_by("index")):
        measured.measure(
            store, Path(settings.DATA_ROOT), vial,
            values={
                "peak_nm": {"value": 400.0 + 10 * number, "unit": "nm"}, "peak_height": {"value": 0.8, "unit": ""},
            },
        )  # fmt: skip
    done.samples.update(state=SampleState.COMPLETED)
    Job.objects.filter(pk=done.pk).update(
        state=JobState.COMPLETED, started_lab_s=5.0, finished_lab_s=900.0, steps_total=3, steps_done=3, samples_total=3
    )
    made["completed"] = done
    for name, job in made.items():
        log(job, "job", job.pk, "", "queued", user.username)
        log(job, "job", job.pk, "queued", name if name in JobState.values else job.state, "", job.state_reason)
    return {name: str(job.pk) for name, job in made.items()} | {
        "sample": str(sample.pk),
        "vial": str(first.pk),
        "question": str(human.pk),
        "interrupted": str(broken.pk),
    }


def trouble(store: DocumentStore, operator: User) -> None:
    """Lock, trip and lose what can be."""
    Device.objects.filter(pk="spectrometer").update(state="offline", reason="its host does not answer")
    Device.objects.filter(pk="pipette").update(
        state="error", quarantine="in quarantine: no answer within 2 s", reason="no answer"
    )
    Device.objects.filter(pk="pump_h2o2").update(state="maintenance", reason="locked by olga: new tubing")
    MaintenanceLock.objects.create(
        kind="device", target="pump_h2o2", holder=operator, reason="new tubing", since_at=timezone.now(),
        expires_at=timezone.now() + timedelta(hours=3),
    )  # fmt: skip
    Interlock.objects.create(id="too_hot", tripped=True, value=95.0, serial=1, since_at=timezone.now())
    Stock.objects.filter(pk="agno3").update(level=3.5, reserved=2)
    latch = Latch(
        scope="uv_vis", tripped=True, serial=1, actor="ann", reason="smoke above the cuvettes", at=timezone.now()
    )
    store.insert_many("latches", [{"_id": "uv_vis", **latch.model_dump(mode="json")}])
    device = {"schema_version": 1, "scope": "uv_vis", "serial": 1, "host": "host", "took_s": 0.1, "text": "", "at": ""}
    store.insert_many("safe_states", [{"_id": "uv_vis/1/arm", **device, "device": "arm", "confirmed": True}])


def main() -> None:
    """Prepare everything."""
    call_command("migrate", verbosity=0)
    store = DocumentStore(settings.MONGO_URL)
    prepare_lab(store)
    people = {
        name: services.create_user(name, PASSWORD, operator=name == "olga", admin=name == "ada")
        for name in ("ada", "olga", "ann", "eve")
    }
    ann = people["ann"]
    said = jobs_of(ann, store)
    for number in range(MANY):
        Job.objects.create(
            id=new_id(), project=ann.personal_project, owner=ann, name=f"calibration {number:03d}", spec={},
            simulated=True, submitted_at=timezone.now(), submitted_lab_s=0.0, state=JobState.COMPLETED,
            started_lab_s=1.0, finished_lab_s=2.0, steps_total=4, steps_done=4, samples_total=1,
        )  # fmt: skip
    for number in range(12):
        services.create_project(ann, f"project-{number}", f"Project with a rather long name, number {number}")
    Channel.objects.create(user=ann, name="group chat", url="slack://a/b/c", events=["failed", "needs_operator"])
    Channel.objects.create(user=ann, name="mail", url="mailtos://x:y@example.org")
    services.create_token(ann, "notebook", scopes=["jobs:read", "jobs:write"])
    services.create_token(
        ann, "agent of the optimiser in the corner", project=Project.objects.get(slug="project-3"), agent=True
    )
    trouble(store, people["olga"])
    store.close()
    print(json.dumps(said))


if __name__ == "__main__":
    main()
