"""How fast jobs are accepted while the planner improves a large plan, and how fast questions about it are answered."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from .crowded import Watch, crowded_lab, fill, http_clients, live, post, published, small_job, vial_job
from .figures import distribution_ms
from .lab import BenchError, BenchLab

SMALL, VIALS = 140, 20
"""Jobs in the queue before the measurement: 700 steps, and 720 of single vials."""
SUBMITS = 400
PACED_S = 0.25
PACED = 200
ASKED = 20
SETTLE_S = 8.0


def run() -> dict[str, Any]:
    """Fill the queue, submit from four clients while it is improved, and ask about it."""
    with tempfile.TemporaryDirectory(prefix="octolab-bench-") as folder, crowded_lab(Path(folder)) as lab:
        clients = http_clients(lab)
        fill(clients, [*map(vial_job, range(VIALS)), *map(small_job, range(SMALL))])
        time.sleep(SETTLE_S)
        figures = {
            "without_a_pause": _measure(lab, clients, SUBMITS, 0.0),
            f"every_{PACED_S:g}_s_each": _measure(lab, clients, PACED, PACED_S),
        }
        why_s, answered = _ask(clients[0])
        return {
            "clients": len(clients),
            **figures,
            "why_behind_the_queue": distribution_ms(why_s),
            "why_answered": answered,
            "refused_as_impossible": distribution_ms(_refused(clients[0])),
            "meaning": "answer times of POST /jobs (six steps, two windows), of GET /jobs/{id}/why and of the 422 for "
            "a job that no plan can do, real milliseconds",
        }


def _measure(lab: BenchLab, clients: Sequence[httpx.Client], count: int, pause_s: float) -> dict[str, Any]:
    before, plans, cpu_s = live(lab), published(lab), lab.cpu_s()
    with Watch(lab) as watch:
        waits_s, placed = _submit(clients, count, pause_s)
    after, cpu_after_s = live(lab), lab.cpu_s()
    made = {name: number - plans.get(name, 0) for name, number in published(lab).items()}
    return {
        "live_before": before,
        "live_after": after,
        "post_jobs": distribution_ms(waits_s),
        "answers_with_a_prediction_percent": round(100 * placed / count, 1),
        "took_s": round(watch.took_s, 2),
        "web_cpu_ms_per_post": round(1000 * (cpu_after_s["web"] - cpu_s["web"]) / count, 2),
        "scheduler_cpu_ms_per_post": round(1000 * (cpu_after_s["scheduler"] - cpu_s["scheduler"]) / count, 2),
        "plans_published": made,
        "improver": watch.figures(),
    }


def _submit(clients: Sequence[httpx.Client], count: int, pause_s: float) -> tuple[list[float], int]:
    """Submit from all clients at once; return how long each took (s), and how many answers had a prediction."""
    numbers, waits_s, wrong, lock = iter(range(1000, 1000 + count)), list[float](), list[Exception](), threading.Lock()
    placed = 0

    def client(http: httpx.Client) -> None:
        nonlocal placed
        while not wrong:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            try:
                took_s, predicted = post(http, small_job(number))
            except (BenchError, httpx.HTTPError) as error:
                wrong.append(error)
                return
            with lock:
                waits_s.append(took_s)
                placed += predicted
            time.sleep(pause_s)

    threads = [threading.Thread(target=client, args=(http,)) for http in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise BenchError(str(wrong[0]))
    return waits_s, placed


def _ask(http: httpx.Client) -> tuple[list[float], int]:
    """Ask why the last jobs of the queue wait; the first question, which starts the advisor, is not counted."""
    waits_s, answered = [], 0
    rows = http.get("/api/v1/jobs", params={"text": "small", "state": "queued", "limit": 100}).json()["results"]
    for number in range(ASKED + 1):
        job = rows[number % len(rows)]
        began_s = time.monotonic()
        answer = http.get(f"/api/v1/jobs/{job['id']}/why").json()
        if number:
            waits_s.append(time.monotonic() - began_s)
            answered += answer["reason"] != "unknown"
    return waits_s, answered


def _refused(http: httpx.Client) -> list[float]:
    """Submit jobs whose windows contradict one another."""

    def occupy(time_s: int, **more: Any) -> dict[str, Any]:
        return {"task": "virtual.occupy", "with": {"devices": ["virtual_1"], "time": f"{time_s} s"}, **more}

    waits_s = []
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
