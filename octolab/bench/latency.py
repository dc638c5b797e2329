"""How long a step waits between the moment when it is possible and its first device command."""

from __future__ import annotations

from typing import Any

from octolab.stack.options import DEFAULT_LAB, DEMO_JOB, REPOSITORY

from .figures import distribution_ms
from .lab import BenchError, BenchLab, bench_lab
from .stores import documents, steps

SEQUENTIAL_STEPS = 200
DEMO_SCALE = 600.0


def run() -> dict[str, Any]:
    """Measure both distributions."""
    with bench_lab(REPOSITORY / "octolab" / "labs" / "virtual.toml", scale=1) as lab:
        sequential = _finished(lab, _chain())
        waits_s = _waits_s(lab, sequential, scale=1)
    with bench_lab(DEFAULT_LAB, scale=DEMO_SCALE) as lab:
        demo = _finished(lab, DEMO_JOB.read_text(encoding="utf-8"))
        demo_waits_s = _waits_s(lab, demo, scale=DEMO_SCALE)
    return {
        "sequential_steps": distribution_ms(waits_s),
        "demo_job_at_scale_600": distribution_ms(demo_waits_s),
        "meaning": "possible (the last step that it needs, or that used one of its devices, ended at the bench) "
        "to the first device command, real milliseconds",
    }


def _chain() -> dict[str, Any]:
    task = {"task": "virtual.occupy", "with": {"devices": ["virtual_1"], "time": "0 s"}}
    return {"name": "200 sequential steps", "samples": 1, "workflow": [task] * SEQUENTIAL_STEPS}


def _finished(lab: BenchLab, job: Any) -> str:
    with lab.client() as client:
        job_id: str = client.submit(job)["id"]
        final = client.wait(job_id, timeout_s=600)
    if final["state"] != "completed":
        raise BenchError(f"the job became {final['state']}: {final['state_reason']}")
    return job_id


def _waits_s(lab: BenchLab, job_id: str, scale: float) -> list[float]:
    """Return each attempt's wait in real seconds."""
    attempts = {document["_id"].replace("-", ""): document for document in documents(lab, "attempts", {})}
    found = steps(lab.data, job_id)
    ended = {step["id"]: step["ended_lab_s"] for step in found}
    freed: dict[str, float] = {}
    waits: list[float] = []
    for step in found:
        needed = [ended[need["step"]] + (need.get("min_s") or 0) for need in step["needs"] if need["step"] in ended]
        possible = max([*needed, *(freed[device] for device in step["devices"] if device in freed)], default=None)
        attempt = attempts.get(f"{step['id']}/{step['attempt']}")
        # A step inside of a block follows the one before without asking anybody; clean-up starts when it is called for.
        if attempt and possible is not None and step["id"] == step["block"] and not step["called"]:
            first = attempt.get("first_command_lab_s") or attempt["started_lab_s"]
            waits.append((first - possible) / scale)
        for device in step["devices"]:
            freed[device] = max(freed.get(device, 0.0), step["ended_lab_s"])
    return waits
