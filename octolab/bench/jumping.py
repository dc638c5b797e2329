"""The live scheduler in quickened lab time: real stores, the real loop, a host that does everything as planned,
and a clock that jumps to the next moment at which something happens.

A day of lab time takes seconds. Started as ``python -m octolab.bench.jumping FILE``, where the file holds a planning
problem whose jobs come at their releases; prints what became of it as JSON.
"""

from __future__ import annotations

import base64
import heapq
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen, run
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from modules.contract.lab import Lab
from modules.contract.manifest import Action, Device, Manifest, Resource
from modules.contract.manifest import Step as ManifestStep
from modules.contract.manifest import Task as ManifestTask
from octolab.stack.layout import Layout
from octolab.stack.options import REPOSITORY, Options
from scheduler.planning.codec import dump_problem, load_problem
from scheduler.planning.problem import Job, Problem, Step

from .clock import START_S, JumpingClock
from .lab import BenchError

if TYPE_CHECKING:
    from scheduler.process.loop import Scheduler
    from users.models import User

MODULE, HOST = "bench", "host"
LATEST_S = 14 * 24 * 3600.0
BEAT_S = 1.0
START_WITHIN_S = 60.0


def play(problem: Problem) -> dict[str, dict[str, float]]:
    """Let the live scheduler do a problem; return start and finish of each job (lab seconds after the beginning)."""
    with tempfile.TemporaryDirectory(prefix="octolab-bench-") as temporary:
        folder = Path(temporary)
        text = dump_problem(problem)
        for name in (*(device.id for device in problem.devices), *(resource.id for resource in problem.resources)):
            # Ids are small letters in a lab.
            text = text.replace(f'"{name}"', f'"{name.lower()}"')
        (folder / "problem.json").write_text(text)
        lab = folder / "lab.toml"
        lab.write_text('name = "Quick lab"\n[modules.bench]\npackage = "modules.virtual"\n')
        options = Options(lab, folder, 0, 1.0, demo=False, demo_job=None, once=False)
        layout = Layout(options, 0)
        with _stores(layout):
            command = [sys.executable, "-m", "octolab.bench.jumping", str(folder / "problem.json")]
            environment = {**layout.server_environment, "OCTOLAB_DATABASE_URL": f"sqlite:///{folder / 'lab.sqlite3'}"}
            done = run(  # noqa: S603 - our own module
                command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
            )
    if done.returncode != 0:
        raise BenchError(f"the scheduler did not get through:\n{done.stderr[-3000:]}")
    found: dict[str, dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return found


@contextmanager
def _stores(layout: Layout) -> Iterator[None]:
    import asyncio

    children: list[Popen[bytes]] = []

    async def start() -> None:
        for service in layout.stores:
            async with service.ready.watch() as wait:
                environment = {**service.environment, **wait.environment}
                child = Popen(  # noqa: S603 - as the stack itself starts it
                    service.command, stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, env=environment
                )
                children.append(child)
                if child.stdin is not None:
                    child.stdin.write(service.standard_input)
                    child.stdin.close()
                await asyncio.wait_for(wait.ready(), START_WITHIN_S)

    try:
        asyncio.run(start())
        yield
    finally:
        for child in children:
            child.terminate()
            child.wait()


# --- in the process of the scheduler


def main() -> None:
    """Play one problem."""
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    problem = load_problem(Path(sys.argv[1]).read_text())
    print(json.dumps(QuickLab(problem).run()))


class QuickLab:
    """A scheduler, a host and a clock that play one problem."""

    def __init__(self, problem: Problem) -> None:
        from django.conf import settings

        from analysis.documents import DocumentStore
        from scheduler import models
        from scheduler.process import plan, shares, turns
        from scheduler.process.leader import Leadership
        from scheduler.process.loop import Scheduler

        # In a real lab minutes lie between two events, so that whatever is due is done.
        plan.REPAIR_SHARE = plan.URGENT_SHARE = shares.COST_SHARE = 0
        plan.AT_ONCE_S = turns.TURNS_S = float("inf")
        shares.LOOK_S = 0.0
        self.problem = problem
        self.clock = JumpingClock()
        self.store = DocumentStore(settings.MONGO_URL)
        self.manifest = _manifest(problem)
        for device in problem.devices:
            models.Device.objects.create(id=device.id, host=HOST)
        lab = Lab.model_validate(
            {
                "name": "Quick lab",
                "modules": {MODULE: {"package": "modules.virtual"}},
                "devices": [{"id": d.id, "driver": "none:None", "address": f"sim://{d.id}"} for d in problem.devices],
            }
        )
        leadership = Leadership()
        if not leadership.try_to_lead():
            raise RuntimeError("another scheduler leads")
        clock: Any = self.clock
        self.scheduler: Scheduler = Scheduler(
            lab,
            clock,
            self.store,
            settings.REDIS_URL,
            leadership,
            improve=False,
        )
        import redis

        self.redis = redis.Redis.from_url(settings.REDIS_URL)
        self.users: dict[str, User] = {}
        self.names: dict[str, str] = {}
        self.ends: list[tuple[float, str, Any]] = []
        self.beats = 0
        self.incarnation = str(uuid4())
        self.store.upsert(
            "manifests",
            {"_id": self.manifest.hash(), "schema_version": 1, "manifest": self.manifest.model_dump(mode="json")},
        )

    def run(self) -> dict[str, dict[str, float]]:
        """Play until all jobs are done."""
        from scheduler.models import Job as Row

        coming = sorted(self.problem.jobs, key=lambda job: job.release)
        tick = self.problem.tick
        for _ in range(3):
            self._beat()
            self._turn()
        while True:
            while coming and START_S + coming[0].release * tick <= self.clock.time_s:
                self._submit(coming.pop(0))
            self._until_quiet()
            if not coming and not Row.objects.exclude(state__in=("completed", "failed", "cancelled")).exists():
                break
            self._jump(START_S + coming[0].release * tick if coming else None)
        rows = Row.objects.values_list("id", "state", "started_lab_s", "finished_lab_s")
        self.scheduler.close()
        return {
            self.names[str(pk)]: {"start_s": began_s - START_S, "finish_s": ended_s - START_S}
            for pk, state, began_s, ended_s in rows
            if state == "completed" and began_s is not None and ended_s is not None
        }

    # --- time

    def _turn(self) -> None:
        self.scheduler.hosts._looked_s = 0.0  # noqa: SLF001 - the host is looked at in lab time
        self.scheduler.plan.notice_unfairness(self.clock.time_s)
        self.scheduler.turn()

    def _until_quiet(self) -> None:
        """Let the scheduler and the host do all that can be done at this moment."""
        from scheduler.models import Event

        quiet = 0
        while quiet < 2:
            before = Event.objects.count()
            self._beat()
            self._turn()
            moved = self._close_due() + self._claim()
            quiet = 0 if moved or Event.objects.count() != before else quiet + 1

    def _jump(self, arrival_s: float | None) -> None:
        scheduler = self.scheduler
        due = [scheduler.standby.next_s(), scheduler.grants.next_due_s(), arrival_s]
        if self.ends:
            due.append(self.ends[0][0])
        ahead = [at_s for at_s in due if at_s is not None and at_s > self.clock.time_s]
        if not ahead or min(ahead) > LATEST_S:
            raise RuntimeError(f"nothing happens any more after {self.clock.time_s:.0f} s")
        self.clock.time_s = min(ahead)

    # --- jobs

    def _submit(self, job: Job) -> None:
        from django.db import transaction

        with transaction.atomic():
            self._insert(job)

    def _insert(self, job: Job) -> None:
        from octolab.ids import new_id
        from scheduler import models
        from users.models import Project
        from users.services import create_user

        if job.user not in self.users:
            self.users[job.user] = create_user(job.user)
        owner = self.users[job.user]
        size = max([hold.quantity for hold in job.holds] + [_places(step) for step in job.steps()] + [1])
        row = models.Job.objects.create(
            project=Project.objects.get(personal_of=owner), owner=owner, name=job.id, spec={"format": 1},
            manifests={MODULE: self.manifest.hash()}, simulated=True, submitted_at=datetime.now(UTC),
            submitted_lab_s=self.clock.time_s, samples_total=size, steps_total=sum(1 for _ in job.steps()),
        )  # fmt: skip
        self.names[str(row.pk)] = job.id
        samples = [models.Sample.objects.create(job=row, index=n, name=f"s{n}") for n in range(size)]
        ids: dict[str, UUID] = {step.id: new_id() for step in job.steps()}
        needs: dict[str, list[dict[str, Any]]] = {name: [] for name in ids}
        for lag in job.lags:
            needs[lag.second].append(self._need(ids[lag.first], lag.min or 0, lag.max))
        takes: dict[str, list[str]] = {name: [] for name in ids}
        frees: dict[str, list[str]] = {name: [] for name in ids}
        for hold in job.holds:
            takes[hold.first].append(f"{MODULE}.{hold.resource}")
            frees[hold.last].append(f"{MODULE}.{hold.resource}")
        index = 0
        for task in job.tasks:
            here = models.Task.objects.create(
                job=row, key=task.id, index=index, module=MODULE, task="work", parameters={}
            )
            here.samples.set(samples)
            for number, step in enumerate(task.steps):
                mode = step.modes[0]
                if number:
                    needs[step.id].append(self._need(ids[task.steps[number - 1].id], 0, 0))
                for demand in mode.demands:
                    resource = f"{MODULE}.{demand.resource}"
                    takes[step.id] += [resource] if number == 0 else []
                    frees[step.id] += [resource] if number == len(task.steps) - 1 else []
                made = models.Step.objects.create(
                    id=ids[step.id], job=row, index=index, name=step.id, module=MODULE, task_name="work",
                    action="run" if mode.uses else None, block=ids[step.id],
                    devices={use.device: "use" for use in mode.uses},
                    takes=takes[step.id], frees=frees[step.id], needs=needs[step.id],
                    duration_s=mode.duration * self.problem.tick,
                )  # fmt: skip
                models.StepMember.objects.bulk_create(
                    models.StepMember(step=made, task=here, sample=sample) for sample in samples
                )
                index += 1

    def _need(self, step: UUID, least: int, most: int | None) -> dict[str, Any]:
        tick = self.problem.tick
        return {
            "step": str(step), "min_s": least * tick, "max_s": None if most is None else most * tick,
            "on_breach": "flag",
        }  # fmt: skip

    # --- the host

    def _beat(self) -> None:
        self.beats += 1
        self.store.upsert(
            "hosts",
            {
                "_id": HOST, "schema_version": 1, "host": HOST, "incarnation": self.incarnation, "beat": self.beats,
                "started_at": datetime.now(UTC), "modules": {MODULE: self.manifest.hash()},
                "devices": {device.id: "idle" for device in self.problem.devices}, "previous": [],
            },
        )  # fmt: skip

    def _claim(self) -> int:
        """Take every order out of the queue and begin at once."""
        claimed = 0
        while (message := self.redis.rpop(f"module.{MODULE}")) is not None:
            text: Any = message
            order = json.loads(base64.b64decode(json.loads(text)["body"]))[0][0]
            now_s = self.clock.time_s
            document = {
                "_id": order["attempt_id"], "schema_version": 1, "attempt_id": order["attempt_id"], "state": "running",
                "host": HOST, "incarnation": self.incarnation, "module": MODULE, "nonce": uuid4().hex,
                "step_ids": [step["step_id"] for step in order["steps"]], "claimed_lab_s": now_s,
                "started_lab_s": now_s,
            }  # fmt: skip
            if self.store.insert_many("attempts", [document])[0]:
                ends, at_s = {}, now_s
                for step in order["steps"]:
                    at_s += step["duration_s"]
                    ends[step["step_id"]] = at_s
                heapq.heappush(self.ends, (at_s, order["attempt_id"], (order, ends)))
                claimed += 1
        return claimed

    def _close_due(self) -> int:
        closed = 0
        while self.ends and self.ends[0][0] <= self.clock.time_s:
            at_s, attempt, (order, ends) = heapq.heappop(self.ends)
            outcomes = [
                {"task_id": m["task_id"], "sample_id": m["sample_id"], "ok": True, "run_uid": m["run_uid"],
                 "results": {}, "error": ""}
                for m in order["members"]
            ]  # fmt: skip
            self.store.update_if(
                "attempts", attempt, {},
                {"state": "completed", "ended_lab_s": at_s, "touched": True, "step_ends_lab_s": ends,
                 "outcomes": outcomes},
            )  # fmt: skip
            closed += 1
        return closed


def _places(step: Step) -> int:
    return max((demand.quantity for demand in step.modes[0].demands), default=0)


def _manifest(problem: Problem) -> Manifest:
    return Manifest(
        package="modules.virtual",
        version="1",
        title="Bench",
        devices={device.id: Device() for device in problem.devices},
        resources={
            resource.id: Resource(capacity=resource.capacity, storage=True) for resource in problem.resources
        },
        tasks=(
            ManifestTask(
                name="work", title="Work", parameters={"type": "object", "properties": {}},
                steps=(ManifestStep(name="run", action="run", duration_s="10"),),
            ),
        ),
        actions=(Action(name="run"),),
    )  # fmt: skip


if __name__ == "__main__":
    main()
