"""The cast of the tests of rights: people with every kind of right to one team's job, and that job's world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.test import Client
from django.utils import timezone

from notifications.models import Channel
from octolab.ids import new_id
from scheduler.models import (
    Device,
    Event,
    Job,
    Leader,
    MaintenanceLock,
    Manifest,
    Module,
    Place,
    Sample,
    Step,
    StepMember,
    Stock,
    Task,
)
from scheduler.states import JobState, SampleState, StepState
from users import services
from users.models import Project, ProjectRole, Scope, Token, User

EVERYTHING: list[str] = Scope.values


@dataclass
class Person:
    """Somebody with a credential."""

    name: str
    user: User | None = None
    token: Token | None = None
    secret: str | None = None

    @property
    def client(self) -> Client:
        """A client that sends the person's token; it follows the server's answers to the letter."""
        headers = {"Authorization": f"Bearer {self.secret}"} if self.secret else {}
        return Client(headers=headers, raise_request_exception=False, enforce_csrf_checks=True)


@dataclass
class World:
    """One team, its job in the lab, and everybody around."""

    people: dict[str, Person]
    project: Project
    job: Job
    sample: Sample
    step: Step
    stock: Stock
    channel: Channel
    lock: MaintenanceLock

    def __getattr__(self, name: str) -> Person:
        try:
            return self.people[name]
        except KeyError:
            raise AttributeError(name) from None


def person(name: str, scopes: list[str] | None = None, *, operator: bool = False, admin: bool = False) -> Person:
    """Make a user with a token that may everything, unless scopes are given."""
    user = services.create_user(name, operator=operator, admin=admin)
    token, secret = services.create_token(user, scopes=EVERYTHING if scopes is None else scopes)
    return Person(name, user, token, secret)


def another_token(name: str, of: Person, **options: Any) -> Person:
    """Make another token of the same user."""
    assert of.user is not None
    token, secret = services.create_token(of.user, **{"scopes": EVERYTHING, **options})
    return Person(name, of.user, token, secret)


def make_world() -> World:
    """Make everybody and everything."""
    people = {
        name: person(name) for name in ("owner", "member", "viewer", "lead", "outsider", "deactivated", "removed")
    }
    people["operator"] = person("operator", operator=True)
    people["admin"] = person("admin", admin=True)
    people["anonymous"] = Person("anonymous")
    lead, owner = people["lead"], people["owner"]
    assert lead.user is not None
    assert owner.user is not None
    project = services.create_project(lead.user, "team", "The team")
    for name, role in (
        ("owner", ProjectRole.MEMBER),
        ("member", ProjectRole.MEMBER),
        ("viewer", ProjectRole.VIEWER),
        ("deactivated", ProjectRole.MEMBER),
        ("removed", ProjectRole.MEMBER),
    ):
        services.add_member(project, name, role)
    people["scopeless"] = another_token("scopeless", owner, scopes=[])
    people["elsewhere"] = another_token("elsewhere", owner, project=owner.user.personal_project)
    people["removed"] = another_token("removed", people["removed"], project=project)
    for name in ("removed", "deactivated"):
        user = people[name].user
        assert user is not None
        if name == "removed":
            services.remove_member(project, user)
        else:
            services.deactivate(user)
    channel = Channel.objects.create(user=owner.user, name="chat", url="json://127.0.0.1:9/secret")
    stock = make_lab()
    operator = people["operator"].user
    assert operator is not None
    lock = MaintenanceLock.objects.create(
        kind="device", target="eye", holder=operator, reason="cleaning", since_at=timezone.now()
    )
    return World(people, project, *make_job(owner.user, project), stock=stock, channel=channel, lock=lock)


def make_lab() -> Stock:
    """Make a module, a device, a stock and the leader's row."""
    Leader.objects.get_or_create(pk=1)
    manifest = Manifest.objects.create(hash="sha256:0", document={"title": "Bench", "package": "bench", "tasks": []})
    Module.objects.create(pk="bench", manifest=manifest)
    Device.objects.create(pk="arm", title="Arm", host="host", modules=["bench"], state="unknown", attempt_id="x/1")
    return Stock.objects.create(pk="vials", title="Vials", unit="1", level=10)


def make_job(owner: User, project: Project, name: str = "secret recipe") -> tuple[Job, Sample, Step]:
    """Make a running job with one sample that waits for an operator."""
    job = Job.objects.create(
        project=project,
        owner=owner,
        name=name,
        spec={"name": name},
        state=JobState.QUEUED,
        simulated=True,
        submitted_at=timezone.now(),
        submitted_lab_s=0.0,
        steps_total=1,
        samples_total=1,
    )
    sample = Sample.objects.create(job=job, index=0, name=f"{name} 1", state=SampleState.PARKED)
    task = Task.objects.create(job=job, key="measure", index=0, module="bench", task="measure")
    task.samples.add(sample)
    step_id = new_id()
    step = Step.objects.create(
        id=step_id,
        block=step_id,
        job=job,
        index=0,
        name="measure",
        module="bench",
        task_name="measure",
        action="measure",
        state=StepState.INTERRUPTED,
        attempt=1,
        devices={"arm": "use"},
        duration_s=10,
        planned_start_lab_s=0.0,
        planned_end_lab_s=10.0,
        started_lab_s=1.0,
    )
    StepMember.objects.create(step=step, task=task, sample=sample)
    Place.objects.create(resource="storage", index=Place.objects.count(), sample=sample)
    Leader.objects.update_or_create(pk=1, defaults={"last_event_seq": (seq := Event.objects.count() + 1)})
    Event.objects.create(
        seq=seq,
        at=timezone.now(),
        lab_s=0,
        kind="job",
        subject=str(job.pk),
        job=job,
        project=project,
        actor=owner.username,
    )
    return job, sample, step
