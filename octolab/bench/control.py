"""How long it takes from the click until the running action has heard of it."""

from __future__ import annotations

import time
from typing import Any

import pymongo

from modules.contract.clock import attach
from octolab.stack.options import REPOSITORY

from .figures import distribution_ms
from .lab import BenchError, BenchLab, bench_lab

CLICKS = 30
SCALE = 600.0
"""The action looks every ten lab seconds, which are 17 ms at this scale: they are part of the figure."""
JOB = {"name": "waits", "workflow": [{"task": "virtual.occupy", "with": {"devices": [], "time": "100 h"}}]}


def run() -> dict[str, Any]:
    """Pause, resume and stop a running action again and again."""
    with bench_lab(REPOSITORY / "octolab" / "labs" / "virtual.toml", scale=SCALE) as lab:
        documents: pymongo.MongoClient[dict[str, Any]]
        with pymongo.MongoClient(lab.running["documents"], retryWrites=False, tz_aware=True) as documents:
            database: Any = documents.get_default_database()
            paused_s, stopped_s = [], []
            for number in range(CLICKS + 1):
                paused, stopped = _one(lab, database)
                if number:
                    paused_s.append(paused)
                    stopped_s.append(stopped)
    return {
        "pause_shown_as_paused": distribution_ms(paused_s),
        "stop_to_the_end_of_the_action": distribution_ms(stopped_s),
        "meaning": "request sent to the action standing at its safe point (seen over REST, so with the way back), and "
        "to the action's end by the lab's clock, real milliseconds; up to 17 ms are the action's own",
    }


def _one(lab: BenchLab, database: Any) -> tuple[float, float]:
    clock = attach(database)
    with lab.client() as client:
        job_id = client.submit(JOB)["id"]
        _until(lambda: _step(client, job_id) == "running")
        asked_s = time.monotonic()
        client.control(job_id, "pause")
        _until(lambda: _step(client, job_id) == "paused")
        paused_s = time.monotonic() - asked_s
        client.control(job_id, "resume")
        _until(lambda: _step(client, job_id) == "running")
        asked_lab_s = clock.now()
        client.control(job_id, "stop")
        if (job := client.wait(job_id, timeout_s=60))["state"] != "completed":
            raise BenchError(f"the job became {job['state']}: {job['state_reason']}")
        (step,) = [step for step in client.job(job_id)["steps"] if step["attempt"]]
        attempt = database["attempts"].find_one({"_id": f"{step['id']}/{step['attempt']}"})
        ended = attempt["ended_lab_s"]
        ended_s = ended["__value__"] if isinstance(ended, dict) else ended
        return paused_s, (ended_s - asked_lab_s) / clock.scale


def _step(client: Any, job_id: str) -> str:
    states = [str(step["state"]) for step in client.job(job_id, include="steps")["steps"] if step["attempt"]]
    return states[0] if states else ""


def _until(condition: Any, within_s: float = 30.0) -> None:
    give_up_s = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > give_up_s:
            raise BenchError("a job did not do as it was told within 30 s")
        time.sleep(0.002)
