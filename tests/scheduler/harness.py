"""A lab for tests of the scheduler: real stores, a clock that the test moves, and a host that does as it is told."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import redis

from analysis.documents import DocumentStore, StoreUnavailableError
from modules.contract.lab import Lab
from modules.contract.manifest import Action, Device, Manifest, Resource, Result
from modules.contract.manifest import Step as ManifestStep
from modules.contract.manifest import Task as ManifestTask
from modules.contract.messages import CLOSED, Order
from octolab.bench.clock import JumpingClock
from octolab.ids import new_id
from scheduler import models
from scheduler.process.leader import Leadership
from scheduler.process.loop import Scheduler
from users.models import Project, User

PATIENCE_S = 120.0
"""Long, because other tests may keep the machine busy; whoever passes does not wait for it."""
DEVICES = ("arm", "pump", "oven", "eye")
PLACES = {"slot": (2, False, "tidy_slot"), "cell": (1, False, "tidy_cell"), "shelf": (4, True, None)}


def make_lab() -> Lab:
    """Return a lab with one module ``bench`` at host ``host``."""
    return Lab.model_validate(
        {
            "name": "Test lab",
            "modules": {"bench": {"package": "tests.bench"}},
            "devices": [{"id": d, "driver": "tests.bench:Driver", "address": f"sim://{d}"} for d in DEVICES],
            "people": [{"id": "olga"}, {"id": "otto", "hours": "Mon-Sun 08:00-16:00"}],
            "stocks": [{"id": "vials", "unit": "1", "level": 10, "warn_below": 3}],
        }
    )


def make_manifest(version: str = "1", *, title: str = "Work", capacities: dict[str, int] | None = None) -> Manifest:
    """Return the manifest of the module ``bench``."""
    sizes = capacities or {}
    return Manifest(
        package="tests.bench",
        version=version,
        title="Bench",
        devices={name: Device() for name in (*DEVICES, "olga", "otto")},
        resources={
            name: Resource(capacity=sizes.get(name, capacity), storage=storage, cleanup=cleanup)
            for name, (capacity, storage, cleanup) in PLACES.items()
        },
        tasks=(*(_plain(name, title) for name in ("work", "tidy_slot", "tidy_cell")), _act(), _look()),
        actions=(
            Action(name="ask"),
            Action(name="run"),
            Action(name="safe", repeat_safe=True),
            Action(name="waits", pause="checkpoint"),
        ),
    )


def _plain(name: str, title: str) -> ManifestTask:
    return ManifestTask(
        name=name,
        title=title,
        parameters={"type": "object", "properties": {}},
        steps=(ManifestStep(name="run", action="run", duration_s="10"),),
    )


def _act() -> ManifestTask:
    number = {"type": "number", "minimum": 0, "maximum": 1000}
    return ManifestTask(
        name="act",
        title="Act",
        parameters={"type": "object", "properties": {"depth": number, "n": number}, "required": ["depth", "n"]},
        steps=(ManifestStep(name="act", action="run", duration_s="depth / 10"),),
    )


def _look() -> ManifestTask:
    return ManifestTask(
        name="look",
        title="Look at it",
        person=True,
        parameters={"type": "object", "properties": {"instruction": {"type": "string"}}},
        steps=(ManifestStep(name="ask", action="ask", devices={"olga": "use"}, duration_s="60"),),
        results=(
            Result(name="mass", unit="g", minimum=0, maximum=10),
            Result(name="turns", optional=True),
            Result(name="colour", dtype="string", choices=("red", "blue"), optional=True),
        ),
    )


@dataclass
class S:
    """A step to be made; ``needs`` are names of other steps, or (name, min, max) triples."""

    name: str
    devices: dict[str, str] = field(default_factory=dict)
    duration_s: float = 10.0
    needs: Sequence[Any] = ()
    takes: Sequence[str] = ()
    frees: Sequence[str] = ()
    settings: dict[str, float] = field(default_factory=dict)
    consumes: dict[str, float] = field(default_factory=dict)
    standby: bool = False
    block: str = ""
    samples: Sequence[int] | None = (0,)
    action: str = "run"
    task: str = "work"
    cleanup: bool = False
    parameters: dict[str, Any] = field(default_factory=dict)
    key: str = ""
    person: bool = False


def make_job(
    owner: User,
    steps: Sequence[S],
    *,
    samples: int = 1,
    priority: int = 0,
    retries: int = 0,
    manifest: Manifest | None = None,
    name: str = "job",
    submitted_lab_s: float = 100.0,
) -> models.Job:
    """Insert a job as the web does, with places and stocks reserved."""
    project = Project.objects.get(personal_of=owner)
    job = models.Job.objects.create(
        project=project,
        owner=owner,
        name=name,
        spec={"format": 1, "retries": retries},
        manifests={"bench": (manifest or make_manifest()).hash()},
        priority=priority,
        simulated=True,
        submitted_at=datetime.now(UTC),
        submitted_lab_s=submitted_lab_s,
        samples_total=samples,
        steps_total=sum(not s.cleanup for s in steps),
    )
    rows = [models.Sample.objects.create(job=job, index=i, name=f"s{i}") for i in range(samples)]
    ids: dict[str, UUID] = {}
    for index, s in enumerate(steps):
        step_id = ids[s.name] = new_id()
        task = models.Task.objects.create(
            job=job,
            key=s.key or s.name,
            index=index,
            module="bench",
            task=s.task,
            parameters=s.parameters,
            cleanup=s.cleanup,
        )
        members = [None] if s.samples is None else [rows[i] for i in s.samples]
        task.samples.set([row for row in members if row is not None])
        step = models.Step.objects.create(
            id=step_id,
            job=job,
            index=index,
            name="ask" if s.person else s.name,
            module="bench",
            task_name=s.task,
            action=None if s.standby else s.action,
            person=s.person,
            dormant=s.cleanup,
            block=ids[s.block] if s.block else step_id,
            devices=s.devices,
            takes=[f"bench.{r}" for r in s.takes],
            frees=[f"bench.{r}" for r in s.frees],
            settings=s.settings,
            consumes=s.consumes,
            needs=[_need(n, ids) for n in s.needs],
            duration_s=s.duration_s,
        )
        for row in members:
            models.StepMember.objects.create(step=step, task=task, sample=row)
        for stock, amount in s.consumes.items():
            row = models.Stock.objects.get(id=stock)
            row.reserved += amount
            row.save()
    return job


def _need(need: Any, ids: dict[str, UUID]) -> dict[str, Any]:
    name, min_s, max_s = need if isinstance(need, tuple) else (need, 0.0, None)
    return {"step": str(ids[name]), "min_s": min_s, "max_s": max_s, "on_breach": "flag"}


class FakeHost:
    """A host without instruments: claims orders and closes them as the test says."""

    def __init__(self, store: DocumentStore, redis_url: str, clock: Any, manifest: Manifest | None = None) -> None:
        self.store = store
        self.redis = redis.Redis.from_url(redis_url)
        self.clock = clock
        self.manifest = manifest or make_manifest()
        self.incarnation = str(uuid4())
        self.previous: list[str] = []
        self.beats = 0
        self.devices = dict.fromkeys(DEVICES, "idle")
        self.orders: dict[str, Order] = {}
        """Claimed and not closed, by attempt id."""
        self.undecided: dict[str, tuple[Order, str]] = {}
        """Asked for, with which nonce, and without a certain answer so far."""
        self.executed: list[str] = []
        """Attempts whose action was entered, in order."""

    def publish(self) -> None:
        document = {"_id": self.manifest.hash(), "schema_version": 1}
        self.store.upsert("manifests", {**document, "manifest": self.manifest.model_dump(mode="json")})

    def beat(self) -> None:
        self.beats += 1
        self.store.upsert(
            "hosts",
            {
                "_id": "host",
                "schema_version": 1,
                "host": "host",
                "incarnation": self.incarnation,
                "beat": self.beats,
                "started_at": datetime.now(UTC),
                "modules": {"bench": self.manifest.hash()},
                "devices": self.devices,
                "previous": self.previous,
            },
        )

    def restart(self) -> None:
        self.previous.append(self.incarnation)
        self.incarnation = str(uuid4())
        self.orders.clear()
        self.undecided.clear()

    def restart_quietly(self) -> None:
        """Take another incarnation, but go on with what is claimed."""
        self.previous.append(self.incarnation)
        self.incarnation = str(uuid4())

    def deliver(self) -> list[Order]:
        """Take all orders out of the queue, without claiming them."""
        orders = []
        while (message := self.redis.rpop("module.bench")) is not None:
            body = json.loads(base64.b64decode(json.loads(message)["body"]))
            orders.append(Order.model_validate(body[0][0]))
        return orders

    def claim(self, orders: Iterable[Order] | None = None) -> list[Order]:
        """Claim orders (those that are in the queue); return those that are ours.

        What the store gave no certain answer to is asked again by the next call, with the same nonce.
        """
        for order in self.deliver() if orders is None else orders:
            if order.attempt_id not in self.orders:
                self.undecided.setdefault(order.attempt_id, (order, uuid4().hex))
        ours = []
        for order, nonce in list(self.undecided.values()):
            document = {
                "_id": order.attempt_id,
                "schema_version": 1,
                "attempt_id": order.attempt_id,
                "state": "claimed",
                "host": "host",
                "incarnation": self.incarnation,
                "module": "bench",
                "step_ids": [step.step_id for step in order.steps],
                "claimed_lab_s": self.clock.now(),
            }
            try:
                claimed = self.store.claim("attempts", document, nonce)
            except StoreUnavailableError:
                break
            del self.undecided[order.attempt_id]
            if claimed:
                self.orders[order.attempt_id] = order
                ours.append(order)
        return ours

    def start(self, order: Order) -> None:
        self.executed.append(order.attempt_id)
        self._set(order, {"state": "running", "started_lab_s": self.clock.now()})

    def close(self, order: Order, state: str = "completed", **fields: Any) -> None:
        """Close an attempt; ``results`` and ``failed`` (sample ids) say how the members fared."""
        if order.attempt_id not in self.executed and not fields.pop("refused", False):
            self.start(order)
        results, failed = fields.pop("results", {}), fields.pop("failed", ())
        outcomes = [
            {
                "task_id": m.task_id,
                "sample_id": m.sample_id,
                "ok": state == "completed" and m.sample_id not in failed,
                "run_uid": m.run_uid,
                "results": results,
                "error": "it broke" if m.sample_id in failed else "",
            }
            for m in order.members
        ]
        now_s = self.clock.now()
        ends = {step.step_id: now_s for step in order.steps} if state == "completed" else {}
        changes = {
            "state": state,
            "ended_lab_s": now_s,
            "touched": True,
            "step_ends_lab_s": ends,
            "outcomes": outcomes,
            **fields,
        }
        self._set(order, changes)
        self.orders.pop(order.attempt_id, None)

    def _set(self, order: Order, changes: dict[str, Any]) -> bool:
        return self.store.update_if("attempts", order.attempt_id, {}, changes)

    def open_attempts(self) -> list[str]:
        return [d["_id"] for d in self.store.find("attempts") if d["state"] not in CLOSED]


class Bench:
    """Scheduler, host and clock together."""

    def __init__(
        self, mongo_url: str, redis_url: str, *, policy: str = "masking", capacities: dict[str, int] | None = None
    ) -> None:
        self.mongo_url, self.redis_url, self.policy = mongo_url, redis_url, policy
        self.clock = JumpingClock()
        self.store = DocumentStore(mongo_url)
        self.host = FakeHost(self.store, redis_url, self.clock, make_manifest(capacities=capacities))
        self.owner = User.objects.filter(username="ada").first() or make_user("ada")
        self.lab = make_lab()
        for device in self.lab.devices:
            models.Device.objects.get_or_create(id=device.id, defaults={"host": "host"})
        for person in self.lab.people:
            models.Device.objects.get_or_create(id=person.id)
        for stock in self.lab.stocks:
            models.Stock.objects.get_or_create(
                id=stock.id, defaults={"unit": stock.unit, "level": stock.level, "warn_below": stock.warn_below}
            )
        self.schedulers: list[Scheduler] = []
        self.scheduler = self.new_scheduler()
        self.host.publish()
        self.alive()

    def new_scheduler(self) -> Scheduler:
        """Start another scheduler on the same stores, which leads from now on."""
        models.Leader.objects.filter(id=1).update(renewed_at=None)
        leadership = Leadership()
        assert leadership.try_to_lead()
        clock: Any = self.clock
        return Scheduler(self.lab, clock, self.store, self.redis_url, leadership, policy=self.policy, improve=False)

    def close(self) -> None:
        """Close all connections."""
        for scheduler in self.schedulers:
            scheduler.close()
        self.host.redis.close()
        self.store.close()

    def restart(self) -> None:
        """Let the scheduler die between two turns, and start another."""
        self.scheduler = self.new_scheduler()
        self.alive()

    def alive(self) -> None:
        """Let the scheduler see the host's beat move."""
        for _ in range(2):
            self.host.beat()
            self.look()

    def look(self) -> None:
        """One turn that also looks at the hosts."""
        self.scheduler.hosts._looked_s = 0.0
        self.scheduler.turn()

    def turn(self, advance_s: float = 0.0) -> None:
        self.clock.time_s += advance_s
        self.scheduler.turn()

    def job(self, *steps: S, **fields: Any) -> models.Job:
        fields.setdefault("submitted_lab_s", self.clock.now())
        return make_job(self.owner, steps, manifest=self.host.manifest, **fields)

    def run_to_end(self, *jobs: models.Job, turns: int = 400, tick_s: float = 1.0) -> None:
        """Let the host do everything, each step in its expected time, until the jobs are final."""
        ends: dict[str, float] = {}
        for _ in range(turns):
            self.host.beat()
            self.turn(tick_s)
            for order in self.host.claim():
                self.host.start(order)
                ends[order.attempt_id] = self.clock.now() + sum(s.duration_s for s in order.steps)
            for order in list(self.host.orders.values()):
                if ends.setdefault(order.attempt_id, self.clock.now()) <= self.clock.now():
                    self.host.close(order)
            if all(models.Job.objects.get(id=job.id).state in ("completed", "failed", "cancelled") for job in jobs):
                return
        raise AssertionError([(s.name, s.state, s.reason) for job in jobs for s in job.steps.order_by("index")])

    def request(self, verb: str, job: models.Job | None = None, **payload: Any) -> models.Request:
        """Make a request, let the scheduler apply it, and return the row."""
        request = models.Request.objects.create(verb=verb, actor=self.owner, job=job, payload=payload)
        self.turn()
        request.refresh_from_db()
        return request


def make_user(name: str) -> User:
    from users.services import create_user

    return create_user(name)


def states(job: models.Job) -> dict[str, str]:
    """Return step name → state."""
    return dict(models.Step.objects.filter(job=job).values_list("name", "state"))


def wait_until(condition: Any, timeout_s: float = PATIENCE_S) -> None:
    """Wait for something that other processes do."""
    give_up_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > give_up_s:
            raise AssertionError("it did not happen in time")
        time.sleep(0.02)
