"""How fast jobs are accepted while the planner works hard, and how fast questions about its plan are answered."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import httpx

from octolab.stack.options import REPOSITORY

from .figures import distribution_ms
from .lab import BenchError, BenchLab, bench_lab

QUEUED = 50
CLIENTS = 4
SUBMITS = 400
ASKED = 20
CHILD = "scheduler.process.child"


def run() -> dict[str, Any]:
    """Fill the queue, submit from four clients while it is planned, and ask about it."""
    with bench_lab(REPOSITORY / "octolab" / "labs" / "virtual.toml", scale=1) as lab:
        _fill(lab)
        children_s, cpu_s = _children_cpu_s(lab), lab.cpu_s()
        began_s = time.monotonic()
        waits_s = _submit(lab)
        took_s = time.monotonic() - began_s
        lab_cpu_s = lab.cpu_s()
        solving_s = _children_cpu_s(lab) - children_s
        why_s, answered = _ask(lab)
        return {
            "jobs_queued_before": QUEUED,
            "clients": CLIENTS,
            "post_jobs": distribution_ms(waits_s),
            "took_s": round(took_s, 2),
            "web_cpu_ms_per_post": round(1000 * (lab_cpu_s["web"] - cpu_s["web"]) / SUBMITS, 2),
            "scheduler_cpu_ms_per_post": round(1000 * (lab_cpu_s["scheduler"] - cpu_s["scheduler"]) / SUBMITS, 2),
            "planner_cpu_s_meanwhile": round(solving_s, 2),
            "why_behind_the_queue": distribution_ms(why_s),
            "why_answered": answered,
            "refused_as_impossible": distribution_ms(_refused(lab)),
            "meaning": "answer times of POST /jobs (one no-op step), of GET /jobs/{id}/why and of the 422 for a job "
            "that no plan can do, real milliseconds",
        }


def _fill(lab: BenchLab) -> None:
    """Queue jobs of several steps each that take long, so that there is much to plan and nothing ends."""
    with lab.client() as client:
        for number in range(QUEUED):
            steps = [
                {
                    "task": "virtual.occupy",
                    "with": {
                        "devices": [f"virtual_{1 + (number * k + k) % 4}"],
                        "time": f"{60 + 37 * (number + k) % 400} s",
                    },
                }
                for k in range(1, 7)
            ]
            client.submit({"name": f"long {number}", "workflow": steps})


def _http(lab: BenchLab) -> httpx.Client:
    return httpx.Client(base_url=lab.address, headers={"Authorization": f"Bearer {lab.token}"}, timeout=60)


def _submit(lab: BenchLab) -> list[float]:
    numbers, waits_s, wrong, lock = iter(range(SUBMITS)), list[float](), list[str](), threading.Lock()

    def client() -> None:
        with _http(lab) as http:
            while not wrong:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                began_s = time.monotonic()
                answer = http.post(
                    "/api/v1/jobs", json={"name": f"no-op {number}", "workflow": [{"task": "virtual.noop"}]}
                )
                took_s = time.monotonic() - began_s
                with lock:
                    waits_s.append(took_s)
                    if answer.status_code != httpx.codes.ACCEPTED:
                        wrong.append(answer.text)

    def keep_solving() -> None:
        # What-ifs are searched twice each, so the planner is never idle.
        with _http(lab) as http:
            while not done.is_set():
                http.post("/api/v1/plan/what-if", json={"lose": ["virtual_2"]})

    done = threading.Event()
    solving = threading.Thread(target=keep_solving)
    solving.start()
    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    solving.join()
    if wrong:
        raise BenchError(f"a job was refused: {wrong[0]}")
    return waits_s


def _ask(lab: BenchLab) -> tuple[list[float], int]:
    """Ask why the last jobs of the queue wait; the first question, which starts the advisor, is not counted."""
    waits_s, answered = [], 0
    with _http(lab) as http:
        rows = http.get("/api/v1/jobs", params={"text": "long", "limit": 100}).json()["results"]
        for number in range(ASKED + 1):
            job = rows[number % len(rows)]
            began_s = time.monotonic()
            answer = http.get(f"/api/v1/jobs/{job['id']}/why").json()
            if number:
                waits_s.append(time.monotonic() - began_s)
                answered += answer["reason"] != "unknown"
    return waits_s, answered


def _refused(lab: BenchLab) -> list[float]:
    """Submit jobs whose windows contradict one another."""

    def occupy(time_s: int, **more: Any) -> dict[str, Any]:
        return {"task": "virtual.occupy", "with": {"devices": ["virtual_1"], "time": f"{time_s} s"}, **more}

    waits_s = []
    with _http(lab) as http:
        for number in range(ASKED):
            workflow = [
                occupy(60, id="make"),
                occupy(720 + number, id="wash"),
                occupy(60, id="see", needs=["wash"], within={"make": "5 min"}),
            ]
            began_s = time.monotonic()
            answer = http.post("/api/v1/jobs", json={"name": "impossible", "workflow": workflow})
            waits_s.append(time.monotonic() - began_s)
            if answer.status_code != httpx.codes.UNPROCESSABLE_ENTITY:
                raise BenchError(f"an impossible job was answered with {answer.status_code}")
    return waits_s


def _children_cpu_s(lab: BenchLab) -> float:
    """Return the CPU time (s) that the scheduler's planner children have used."""
    (scheduler,) = lab.pids("scheduler")
    used = 0.0
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_text()
        except OSError:
            continue
        if int(fields[1]) == scheduler and CHILD in command:
            used += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return used
