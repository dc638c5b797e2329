"""What it costs to submit, to read and to stop as the number of live jobs grows: it must not grow along."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from .crowded import crowded_lab, fill, http_clients, live, post, small_job
from .figures import distribution_ms
from .lab import BenchLab

LEVELS = (0, 100, 500, 2000)
SUBMITS = 40
READS = 15
STOPS = 5
SETTLE_S = 5.0
READ = {
    "job": "/api/v1/jobs/{job}",
    "jobs": "/api/v1/jobs?limit=50",
    "plan": "/api/v1/plan",
    "devices": "/api/v1/devices",
}


def run() -> dict[str, Any]:
    """Measure with more and more jobs in the queue."""
    with tempfile.TemporaryDirectory(prefix="octolab-bench-") as folder, crowded_lab(Path(folder)) as lab:
        clients = http_clients(lab)
        figures: dict[str, Any] = {"stop_of_an_empty_lab": distribution_ms(_stops(lab))}
        number = 0
        for level in LEVELS:
            fill(clients, [small_job(number + n) for n in range(max(0, level - number))])
            number = max(number, level)
            time.sleep(SETTLE_S)
            figures[f"{level}_jobs"] = _level(lab, clients, number)
            number += SUBMITS
        figures["stop_of_the_full_lab"] = distribution_ms(_stops(lab))
        figures["meaning"] = (
            "answer times one after the other, real milliseconds; CPU is that of the web and scheduler process"
        )
        return figures


def _level(lab: BenchLab, clients: list[httpx.Client], number: int) -> dict[str, Any]:
    there, cpu_s = live(lab), lab.cpu_s()
    began_s = time.monotonic()
    answers = [post(clients[n % len(clients)], small_job(number + n)) for n in range(SUBMITS)]
    took_s, after_s = time.monotonic() - began_s, lab.cpu_s()
    found: dict[str, Any] = {
        "live": there,
        "post_jobs": distribution_ms([answer[0] for answer in answers]),
        "answers_with_a_prediction_percent": round(100 * sum(answer[1] for answer in answers) / SUBMITS, 1),
        "web_cpu_ms_per_post": round(1000 * (after_s["web"] - cpu_s["web"]) / SUBMITS, 2),
        "scheduler_cpu_share_percent": round(100 * (after_s["scheduler"] - cpu_s["scheduler"]) / took_s, 1),
    }
    http = clients[0]
    job = http.get("/api/v1/jobs", params={"limit": 1}).json()["results"][0]["id"]
    for name, path in READ.items():
        found[f"get_{name}"] = distribution_ms([_read(http, path.format(job=job)) for _ in range(READS)])
    return found


def _read(http: httpx.Client, path: str) -> float:
    began_s = time.monotonic()
    http.get(path).raise_for_status()
    return time.monotonic() - began_s


def _stops(lab: BenchLab) -> list[float]:
    """Trip and re-arm; return how long each answer took (s)."""
    waits_s = []
    with lab.client() as client:
        for _ in range(STOPS):
            began_s = time.monotonic()
            client.estop(reason="benchmark")
            waits_s.append(time.monotonic() - began_s)
            client.rearm("benchmark")
    return waits_s
