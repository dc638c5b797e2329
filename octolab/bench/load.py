"""How many one-step jobs the server accepts, and the lab does, in a second; and whether each is done exactly once."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from octolab.stack.options import REPOSITORY

from .figures import distribution_ms
from .lab import BenchError, BenchLab, bench_lab
from .stores import documents

JOBS = 1000
CLIENTS = 8
DRAIN_WITHIN_S = 600.0


def run() -> dict[str, Any]:
    """Accept with the hosts idle, drain, then both at once."""
    with bench_lab(REPOSITORY / "octolab" / "labs" / "virtual.toml") as lab:
        hosts = lab.pids("host")
        _drained(lab, _submit_all(lab, count=20, first=-100))  # warm
        for pid in hosts:
            os.kill(pid, signal.SIGSTOP)
        cpu_s = [lab.cpu_s()]
        try:
            accepted = _submit_all(lab, count=JOBS, first=0)
        finally:
            cpu_s.append(lab.cpu_s())
            for pid in hosts:
                os.kill(pid, signal.SIGCONT)
        began_s = time.monotonic()
        drained_s = _drained(lab, accepted) - began_s
        cpu_s.append(lab.cpu_s())
        began_s = time.monotonic()
        both = _submit_all(lab, count=JOBS, first=JOBS)
        both_s = _drained(lab, both) - began_s
        cpu_s.append(lab.cpu_s())
        phases = ("accept", "drain", "both")
        return {
            "jobs": JOBS,
            "clients": CLIENTS,
            "accept_hosts_idle": accepted.figures(),
            "drain": {"per_s": round(JOBS / drained_s, 1), "took_s": round(drained_s, 2)},
            "both_at_once": {**both.figures(), "drained_per_s": round(JOBS / both_s, 1), "took_s": round(both_s, 2)},
            "cpu_ms_per_job": {
                phase: {name: round(1000 * (after[name] - before[name]) / JOBS, 2) for name in after}
                for phase, before, after in zip(phases, cpu_s, cpu_s[1:], strict=False)
            },
            "exactly_once": _each_done_once(lab, range(2 * JOBS)),
        }


@dataclass
class Submitted:
    """What came of submitting many jobs."""

    ids: list[str] = field(default_factory=list)
    waits_s: list[float] = field(default_factory=list)
    took_s: float = 0.0

    def figures(self) -> dict[str, Any]:
        """Return rate and distribution."""
        return {"accepted_per_s": round(len(self.ids) / self.took_s, 1), **distribution_ms(self.waits_s)}


def _submit_all(lab: BenchLab, *, count: int, first: int) -> Submitted:
    """Submit no-op jobs from several clients, each on a connection of its own."""
    submitted, problems, lock = Submitted(), [], threading.Lock()
    numbers = iter(range(first, first + count))

    def client() -> None:
        connection = http.client.HTTPConnection(lab.address.removeprefix("http://"), timeout=60)
        headers = {"Authorization": f"Bearer {lab.token}", "Content-Type": "application/json"}
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                break
            job = {"name": f"no-op {number}", "workflow": [{"task": "virtual.noop", "with": {"value": number}}]}
            body = json.dumps(job).encode()
            began_s = time.monotonic()
            connection.request("POST", "/api/v1/jobs", body, headers)
            response = connection.getresponse()
            answer = response.read()
            took_s = time.monotonic() - began_s
            with lock:
                if response.status != 202:
                    problems.append(answer.decode(errors="replace"))
                    break
                submitted.ids.append(json.loads(answer)["id"])
                submitted.waits_s.append(took_s)
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    began_s = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    submitted.took_s = time.monotonic() - began_s
    if problems:
        raise BenchError(f"a job was refused: {problems[0]}")
    return submitted


def _drained(lab: BenchLab, submitted: Submitted) -> float:
    """Return the monotonic time (s) at which the last of the jobs was done."""
    newest = max(submitted.ids)
    give_up_s = time.monotonic() + DRAIN_WITHIN_S
    with lab.client() as client:
        while time.monotonic() < give_up_s:
            if not client.jobs(state="queued,running", limit=1):
                if client.job(newest, include="none")["state"] != "completed":
                    raise BenchError("a no-op job did not complete")
                return time.monotonic()
            time.sleep(0.02)
    raise BenchError(f"{len(submitted.ids)} no-op jobs were not done within {DRAIN_WITHIN_S:g} s")


def _each_done_once(lab: BenchLab, numbers: range) -> dict[str, Any]:
    """Compare what the hosts have written down with what was submitted."""
    values = Counter(
        int(document["values"]["value"]["value"])
        for document in documents(lab, "results", {})
        if document["values"]["value"]["value"] >= 0
    )
    attempts = Counter(document["step_ids"][0] for document in documents(lab, "attempts", {"state": "completed"}))
    return {
        "done": len(values),
        "missing": len(set(numbers) - set(values)),
        "done_twice": sum(count > 1 for count in values.values()),
        "steps_with_two_completed_attempts": sum(count > 1 for count in attempts.values()),
    }
