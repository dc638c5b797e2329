"""A real host process, and what its tests say to it: orders, controls, the emergency stop."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import redis

from analysis.documents import DocumentStore, StoreError
from modules.contract import clock as lab_clock
from modules.contract.messages import (
    CLOSED,
    CONTROL_CHANNEL,
    ORDER_TASK,
    Control,
    ControlVerb,
    Latch,
    Member,
    Order,
    OrderedStep,
    queue,
)
from modules.host.worker import build_celery
from octolab.ids import new_id

from . import bench

ROOT = Path(__file__).parents[2]
LAB = """
name = "test lab"
clock.scale = 10

[modules.bench]
package = "tests.host.bench"

[[devices]]
id = "arm"
driver = "tests.host.bench:Arm"
address = "sim://arm"
log = "{log}"

[[devices]]
id = "second_arm"
driver = "tests.host.bench:Arm"
address = "sim://second_arm"
log = "{log}"
"""
PATIENCE_S = 120.0
"""Long, because other tests may keep the machine busy; whoever passes does not wait for it."""


def wait_for(what: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """Return the first true answer; fail when patience ends."""
    give_up_at = time.monotonic() + patience_s
    while not (answer := what()):
        if time.monotonic() > give_up_at:
            raise AssertionError(f"waited {patience_s:g} s in vain for {what}")
        time.sleep(0.01)
    return answer


class HostBench:
    """One lab with one host, its stores, and its commands."""

    def __init__(self, folder: Path, mongo_url: str, redis_url: str, more: str = "") -> None:
        self.data_root = folder / "data"
        self.data_root.mkdir(parents=True)
        self.commands_file = folder / "commands.log"
        self.commands_file.touch()
        self.lab = folder / "lab.toml"
        self.lab.write_text(LAB.format(log=self.commands_file) + more)
        self.log_file = folder / "host.log"
        self.mongo_url = mongo_url
        self.redis_url = redis_url
        self.store = DocumentStore(mongo_url)
        self.store.prepare()
        lab_clock.resume(self.store.database, 10.0, simulated=True)
        self.celery = build_celery(redis_url)
        self.redis = redis.Redis.from_url(redis_url)
        self.process: subprocess.Popen[bytes] | None = None

    # ------------------------------------------------------------------ the process

    def start(self, *arguments: str) -> None:
        """Start the host and wait until it serves."""
        before = self.log_text().count("host host serves")
        environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        environment |= {
            "OCTOLAB_MONGO_URL": self.mongo_url,
            "OCTOLAB_REDIS_URL": self.redis_url,
            "OCTOLAB_DATA_ROOT": str(self.data_root),
        }
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "modules.host", "--lab", str(self.lab), "--name", "host", *arguments],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
            )

        def serves() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.log_text()
            return self.log_text().count("host host serves") > before

        wait_for(serves)

    def kill(self) -> None:
        """End the host at once."""
        self.end(signal.SIGKILL)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Ask the host to end, and return its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE_S)
        self.process = None
        return code

    def log_text(self) -> str:
        """Return the host's log."""
        return self.log_file.read_text() if self.log_file.exists() else ""

    def close(self) -> None:
        """End everything that is left."""
        if self.process is not None:
            self.kill()
        self.celery.close()
        self.redis.close()
        self.store.close()

    # ------------------------------------------------------------------ orders

    def order(self, action: str, parameters: Mapping[str, Any] | None = None, **changes: Any) -> Order:
        """Return an order for one step of one member."""
        step_id = str(new_id())
        member = Member(
            task_id=str(new_id()),
            sample_id=str(new_id()),
            sample_name="vial 1",
            parameters=dict(parameters or {}),
            run_uid=str(new_id()),
        )
        now = datetime.now(UTC)
        fields: dict[str, Any] = {
            "attempt_id": f"{step_id}/1",
            "attempt": 1,
            "module": "bench",
            "task": action,
            "manifest_hash": bench.manifest({}).hash(),
            "steps": [step(action, step_id=step_id)],
            "members": [member],
            "job_id": str(new_id()),
            "job_name": "a job",
            "project_id": str(new_id()),
            "owner": "ada",
            "simulated": True,
            "fence": 1,
            "granted_at": now,
            "deadline_at": now + timedelta(seconds=60),
        }
        return Order.model_validate(fields | changes)

    def send(self, order: Order) -> str:
        """Send an order as the scheduler does; return the attempt's id."""
        self.celery.send_task(
            ORDER_TASK, args=[order.model_dump(mode="json")], queue=queue(order.module), ignore_result=True
        )
        return order.attempt_id

    def attempt(self, attempt_id: str) -> dict[str, Any] | None:
        """Return the attempt record, if the store has it and answers."""
        try:
            found = self.store.find_ids("attempts", [attempt_id])
        except StoreError:
            return None
        return found[0] if found else None

    def closed(self, attempt_id: str) -> dict[str, Any]:
        """Wait until an attempt is closed, and return its record."""

        def closed() -> dict[str, Any] | None:
            found = self.attempt(attempt_id)
            return found if found is not None and found["state"] in CLOSED else None

        return wait_for(closed)  # type: ignore[no-any-return]

    def run(self, order: Order) -> dict[str, Any]:
        """Send an order and wait for its end."""
        return self.closed(self.send(order))

    def commands(self, device: str = "arm") -> list[str]:
        """Return what reached a device, without the queries."""
        lines = [line.split(" ", 1) for line in self.commands_file.read_text().splitlines()]
        return [text for name, text in lines if name == device and text != "ID"]

    # ------------------------------------------------------------------ controls

    def control(self, attempt_id: str, verb: ControlVerb, *, heard: bool = True, reason: str = "a test") -> None:
        """Write a control as the scheduler does, and ring unless the bell is to be lost."""
        control = Control(attempt_id=attempt_id, verb=verb, actor="grace", reason=reason, at=datetime.now(UTC))
        document = {"_id": f"{attempt_id}/{verb}/{new_id()}", **control.model_dump(mode="json")}
        self.store.insert_many("controls", [document])
        if heard:
            self.redis.publish(CONTROL_CHANNEL, control.model_dump_json())

    def latch(self, tripped: bool, serial: int, scope: str = "lab", *, heard: bool = True, stored: bool = True) -> None:
        """Trip or re-arm the emergency stop."""
        latch = Latch(scope=scope, tripped=tripped, serial=serial, actor="grace", reason="smoke", at=datetime.now(UTC))
        if stored:
            self.store.upsert("latches", {"_id": scope, **latch.model_dump(mode="json")})
        if heard:
            self.redis.publish(CONTROL_CHANNEL, latch.model_dump_json())

    def host_record(self) -> dict[str, Any]:
        """Return the host's last sign of life."""
        found = self.store.find_ids("hosts", ["host"])
        return found[0] if found else {}

    def device_state(self, device: str) -> str:
        """Return a device's state as the host last told it."""
        return str(self.host_record().get("devices", {}).get(device, ""))


def step(action: str, devices: Mapping[str, str] | None = None, step_id: str | None = None) -> OrderedStep:
    """Return one step of an order."""
    return OrderedStep(
        step_id=step_id or str(new_id()),
        name="do",
        action=action,
        devices={"arm": "use"} if devices is None else dict(devices),  # type: ignore[arg-type]
        duration_s=1.0,
    )


@contextlib.contextmanager
def bench_of(folder: Path, mongo_url: str, redis_url: str, more: str = "") -> Iterator[HostBench]:
    """Yield a bench whose host is running; ``more`` stands at the end of its lab file."""
    host = HostBench(folder, mongo_url, redis_url, more)
    try:
        host.start()
        yield host
    finally:
        host.close()
