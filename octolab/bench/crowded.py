"""A virtual lab with several users and a long queue of realistic jobs, and a watch on the planner that improves it."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from .lab import BenchError, BenchLab, bench_lab

USERS = ("ann", "ben", "cem", "dora")
DEVICES = 8
SLOTS = 48
CHILD = "scheduler.process.child"
LOOK_S = 0.05
BUSY, PAUSING = 0.95, 0.75
"""At work for more than this share of the time."""


@contextmanager
def crowded_lab(folder: Path, *, scale: float = 1) -> Iterator[BenchLab]:
    """Run a stack with eight virtual devices and four users."""
    text = (
        'name = "Crowded lab"\n[modules.virtual]\npackage = "modules.virtual"\n'
        f"[modules.virtual.options]\ndevices = {DEVICES}\nslots = {SLOTS}\n"
    )
    for number in range(1, DEVICES + 1):
        text += (
            f'[[devices]]\nid = "virtual_{number}"\ndriver = "modules.drivers.virtual:VirtualDevice"\n'
            'address = "sim://virtual"\nsimulator = "modules.simulation.virtual:SimulatedVirtual"\n'
        )
    lab_file = folder / "lab.toml"
    lab_file.write_text(text)
    with bench_lab(lab_file, scale=scale) as lab:
        yield lab


def small_job(number: int) -> dict[str, Any]:
    """Return a job of five steps with two windows: mix, add, react (without a device), measure, wash."""
    return _job(f"small {number}", number, samples=1)


def vial_job(number: int) -> dict[str, Any]:
    """Return a job of six samples that are handled one by one, each in a slot from its first step to its last."""
    return _job(f"vials {number}", number, samples=6)


def _job(name: str, number: int, samples: int) -> dict[str, Any]:
    first, second = 2 + number % 3, 5 + number % 4
    return {
        "name": name,
        "samples": samples,
        "workflow": [
            {"task": "virtual.enter"},
            _occupy(["virtual_1"], 30, id="mix"),
            _occupy(["virtual_1", f"virtual_{first}"], 40 + 5 * (number % 7), id="add", within="1 h"),
            {"task": "virtual.wait", "id": "react", "with": {"time": f"{300 + 60 * (number % 11)} s"}},
            _occupy([f"virtual_{second}"], 60 + 10 * (number % 5), id="measure", within="40 min"),
            {"task": "virtual.leave"},
        ],
    }


def _occupy(devices: list[str], time_s: int, **more: Any) -> dict[str, Any]:
    return {"task": "virtual.occupy", "with": {"devices": devices, "time": f"{time_s} s"}, **more}


def http_clients(lab: BenchLab) -> list[httpx.Client]:
    """Return a client for each user."""
    tokens = [lab.make_user(name) for name in USERS]
    return [
        httpx.Client(base_url=lab.address, headers={"Authorization": f"Bearer {token}"}, timeout=60) for token in tokens
    ]


def post(http: httpx.Client, job: dict[str, Any]) -> tuple[float, bool]:
    """Submit a job; return how long that took (s), and whether the answer says when it will run."""
    began_s = time.monotonic()
    answer = http.post("/api/v1/jobs", json=job)
    took_s = time.monotonic() - began_s
    if answer.status_code != httpx.codes.ACCEPTED:
        raise BenchError(f"a job was refused: {answer.text[:500]}")
    return took_s, answer.json()["predicted_start"] is not None


def fill(clients: Sequence[httpx.Client], jobs: Sequence[dict[str, Any]]) -> list[float]:
    """Submit jobs, one user after the other; return how long each took (s)."""
    return [post(clients[number % len(clients)], job)[0] for number, job in enumerate(jobs)]


def live(lab: BenchLab) -> dict[str, int]:
    """Return how many jobs and steps are not final."""
    states = "('completed', 'failed', 'cancelled', 'aborted', 'skipped')"
    with closing(sqlite3.connect(f"file:{lab.data / 'octolab.sqlite3'}?mode=ro", uri=True)) as database:
        jobs = database.execute(f"SELECT count(*) FROM scheduler_job WHERE state NOT IN {states}")  # noqa: S608
        steps = database.execute(
            f"SELECT count(*) FROM scheduler_step WHERE NOT dormant AND state NOT IN {states}"  # noqa: S608
        )
        return {"jobs": jobs.fetchone()[0], "steps": steps.fetchone()[0]}


def published(lab: BenchLab) -> dict[str, int]:
    """Return how many plans were published so far, by how they were made."""
    with closing(sqlite3.connect(f"file:{lab.data / 'octolab.sqlite3'}?mode=ro", uri=True)) as database:
        return dict(database.execute("SELECT method, count(*) FROM scheduler_planversion GROUP BY method").fetchall())


@dataclass
class Watch:
    """Looks how busy the planner child is that improves the plan (not the advisor, which answers questions)."""

    lab: BenchLab
    looks: int = 0
    runnable: int = 0
    """How often the child was at work, or waited for a core."""
    cpu_s: float = 0.0
    took_s: float = 0.0
    _pids: dict[int, float] = field(default_factory=dict)
    _end: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Watch:
        self._began_s = time.monotonic()
        self._before = self._look()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self.took_s = time.monotonic() - self._began_s
        self._look()
        self.cpu_s = sum(self._pids.values()) - self._before

    def figures(self) -> dict[str, Any]:
        """Return CPU time and shares, and whether that is a large solve at all."""
        share = self.runnable / max(1, self.looks)
        return {
            "cpu_s": round(self.cpu_s, 2),
            "share_of_a_core_percent": round(100 * self.cpu_s / self.took_s, 1),
            "at_work_percent_of_the_time": round(100 * share, 1),
            "verdict": "busy throughout"
            if share > BUSY
            else "busy, but for pauses between two searches"
            if share > PAUSING
            else "NOT BUSY: this is no large solve",
        }

    def _run(self) -> None:
        while not self._end.wait(LOOK_S):
            self._look()

    def _look(self) -> float:
        (scheduler,) = self.lab.pids("scheduler")
        self.looks += 1
        at_work = False
        for pid, state, used_s in improvers(scheduler):
            self._pids[pid] = used_s
            at_work = at_work or state == "R"
        self.runnable += at_work
        return sum(self._pids.values())


def improvers(scheduler: int) -> Iterator[tuple[int, str, float]]:
    """Yield process id, state and CPU time (s) of the planner children that improve the plan."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            words = (folder / "cmdline").read_text().split("\0")
        except OSError:
            continue
        if int(fields[1]) == scheduler and CHILD in words and "improve" in words:
            used_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            yield int(folder.name), _state(folder), used_s


def _state(process: Path) -> str:
    """Return ``R`` if any thread of a process runs or waits for a core."""
    states = set()
    for task in process.glob("task/*/stat"):
        try:
            states.add(task.read_text().rpartition(")")[2].split()[0])
        except OSError:
            continue
    return "R" if "R" in states else "S"
