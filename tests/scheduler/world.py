"""A whole lab of real processes for crash tests: stores, schedulers, and a host that runs in a thread."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from analysis.documents import DocumentStore, StoreError
from modules.contract.clock import attach
from tests.scheduler.harness import DEVICES, PATIENCE_S, FakeHost, wait_until
from tests.services import MongoServer, RedisServer

ROOT = Path(__file__).resolve().parents[2]
SCALE = 100
LAB = f"""
name = "Crash lab"
[clock]
scale = {SCALE}
[modules.bench]
package = "tests.bench"
[[stocks]]
id = "vials"
unit = "1"
level = 10
""" + "".join(f'[[devices]]\nid = "{d}"\ndriver = "tests.bench:Driver"\naddress = "sim://{d}"\n' for d in DEVICES)


class RunningHost(threading.Thread):
    """Executes whatever is ordered, as well as the stores let it, and notes every execution."""

    def __init__(self, mongo_url: str, redis_url: str) -> None:
        super().__init__(daemon=True)
        self.store = DocumentStore(mongo_url)
        self.host = FakeHost(self.store, redis_url, attach(self.store.database))
        self.ended = threading.Event()
        self.spans: list[tuple[str, float, float]] = []
        """Device, start and end (lab seconds) of everything that was done."""
        self.failure: BaseException | None = None

    def run(self) -> None:
        host, clock = self.host, self.host.clock
        ends: dict[str, float] = {}
        beat_s = 0.0
        self._insist(host.publish)
        while not self.ended.is_set():
            try:
                if time.monotonic() - beat_s > 0.3:
                    host.beat()
                    beat_s = time.monotonic()
                for order in host.claim():
                    now_s = clock.now()
                    ends[order.attempt_id] = now_s + sum(s.duration_s for s in order.steps)
                    for step in order.steps:
                        self.spans.extend((device, now_s, ends[order.attempt_id]) for device in step.devices)
                    host.executed.append(order.attempt_id)
                    self._insist(lambda o=order, at=now_s: host._set(o, {"state": "running", "started_lab_s": at}))
                    self._ring()
                for order in list(host.orders.values()):
                    if ends[order.attempt_id] <= clock.now():
                        self._insist(lambda o=order: host.close(o))
                        self._ring()
            except (RedisError, StoreError):
                time.sleep(0.1)
            except BaseException as error:
                self.failure = error
                raise
            time.sleep(0.002)

    def stop(self) -> None:
        self.ended.set()
        self.join(20)
        self.store.close()
        self.host.redis.close()
        if self.failure is not None:
            raise self.failure

    def _ring(self) -> None:
        from modules.contract.messages import SCHEDULER_BELL

        try:
            self.host.redis.publish(SCHEDULER_BELL, "")
        except RedisError:
            return

    def _insist(self, act: Any) -> None:
        """Do it however long the store is away: a real host has its journal."""
        while not self.ended.is_set():
            try:
                act()
                return
            except StoreError:
                time.sleep(0.1)


class World:
    """Stores, schedulers and the host."""

    def __init__(self, root: Path, template: Path) -> None:
        self.root, self.template = root, template
        self.mongo, self.redis = MongoServer(root / "mongo"), RedisServer(root / "redis")
        self.database = root / "octolab.sqlite3"
        (root / "lab.toml").write_text(LAB)
        self.schedulers: list[subprocess.Popen[bytes]] = []
        self.host: RunningHost

    @property
    def environment(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("OCTOLAB_")},
            "DJANGO_SETTINGS_MODULE": "octolab.settings",
            "OCTOLAB_SECRET_KEY": "x" * 50,
            "OCTOLAB_DATA_ROOT": str(self.root),
            "OCTOLAB_DATABASE_URL": f"sqlite:///{self.database}",
            "OCTOLAB_LAB": str(self.root / "lab.toml"),
            "OCTOLAB_MONGO_URL": self.mongo.url(),
            "OCTOLAB_REDIS_URL": self.redis.url,
        }

    def __enter__(self) -> World:
        self.mongo.start()
        self.redis.start()
        if self.template.exists():
            shutil.copy(self.template, self.database)
        else:
            self.manage("migrate", "--verbosity", "0")
            shutil.copy(self.database, self.template)
        self.manage("prepare_lab")
        self.host = RunningHost(self.mongo.url(), self.redis.url)
        self.host.start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.schedulers:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        self.host.stop()
        self.redis.kill()
        self.mongo.kill()

    def manage(self, *arguments: str) -> str:
        """Run a management command, or another module, to its end."""
        return self._run([sys.executable, "manage.py", *arguments])

    def submit(self, count: int) -> list[str]:
        """Submit jobs from a process of its own; return their ids."""
        return self._run([sys.executable, "-m", "tests.scheduler.submit", str(count)]).split()

    def preview(self) -> list[float]:
        """Preview a job from a process of its own; return its length in lab seconds and its number of steps."""
        return [float(word) for word in self._run([sys.executable, "-m", "tests.scheduler.submit", "preview"]).split()]

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=PATIENCE_S
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start_scheduler(self) -> subprocess.Popen[bytes]:
        with (self.root / "scheduler.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "manage.py", "scheduler"], cwd=ROOT, env=self.environment, stdout=log, stderr=log
            )
        self.schedulers.append(process)
        return process

    def freeze(self, process: subprocess.Popen[bytes]) -> None:
        """Let a process hang between two transactions: in one it would keep the whole database from everybody."""
        while True:
            process.send_signal(signal.SIGSTOP)
            with contextlib.closing(sqlite3.connect(self.database, timeout=0.5, isolation_level=None)) as connection:
                try:
                    connection.execute("BEGIN IMMEDIATE")
                    connection.execute("ROLLBACK")
                    return
                except sqlite3.OperationalError:
                    process.send_signal(signal.SIGCONT)
            time.sleep(0.05)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Read the database; the schedulers do not notice."""
        with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=20) as connection:
            rows = connection.execute(sql).fetchall()
        connection.close()
        return rows

    def open_jobs(self) -> int:
        sql = "SELECT count(*) FROM scheduler_job WHERE state NOT IN ('completed', 'failed', 'cancelled')"
        return int(self.query(sql)[0][0])

    def wait_for_all(self, timeout_s: float = 2 * PATIENCE_S) -> None:
        """Wait until every job is final."""
        give_up_s = time.monotonic() + timeout_s
        while self.open_jobs():
            if time.monotonic() > give_up_s:
                steps = self.query("SELECT state, count(*) FROM scheduler_step GROUP BY state")
                raise AssertionError(f"{steps}\n{(self.root / 'scheduler.log').read_text()[-4000:]}")
            time.sleep(0.05)

    def leader(self) -> tuple[int, str]:
        """Return epoch and holder."""
        rows = self.query("SELECT epoch, holder FROM scheduler_leader")
        return rows[0] if rows else (0, "")

    def check(self, jobs: int) -> None:
        """Check what was done against what was asked: everything once, in order, and nothing at the same time."""
        assert self.query("SELECT state, count(*) FROM scheduler_job GROUP BY state") == [("completed", jobs)]
        executed = [attempt.partition("/")[0].replace("-", "") for attempt in self.host.host.executed]
        attended = [row[0] for row in self.query("SELECT id FROM scheduler_step WHERE action IS NOT NULL")]
        assert sorted(executed) == sorted(attended)
        for device in DEVICES:
            spans = sorted((start, end) for name, start, end in self.host.spans if name == device)
            assert all(before[1] <= after[0] + 1e-6 for before, after in itertools.pairwise(spans)), device
        seqs = [row[0] for row in self.query("SELECT seq FROM scheduler_event ORDER BY seq")]
        assert seqs == list(range(1, len(seqs) + 1))
        times = {
            row[0]: row[1:] for row in self.query("SELECT id, started_lab_s, ended_lab_s, needs FROM scheduler_step")
        }
        for start_s, _, needs in times.values():
            for need in json.loads(needs):
                assert start_s >= times[need["step"].replace("-", "")][1] + need["min_s"] - 1e-6
        assert self.query("SELECT count(*) FROM scheduler_place WHERE sample_id IS NOT NULL") == [(0,)]
        # A host that the machine gave no time to looks silent for a moment.
        wait_until(lambda: self.query("SELECT DISTINCT state FROM scheduler_device") == [("idle",)])
