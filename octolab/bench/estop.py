"""How long it takes from the request for an emergency stop to the stop command at each instrument."""

from __future__ import annotations

import json
import time
from typing import Any

from octolab.stack.options import DEFAULT_LAB

from .figures import distribution_ms
from .lab import BenchError, BenchLab, bench_lab

TRIPS = 30


def run() -> dict[str, Any]:
    """Trip and re-arm the shipped lab again and again."""
    first_s: list[float] = []
    last_s: list[float] = []
    answers_s: list[float] = []
    unconfirmed = 0
    with bench_lab(DEFAULT_LAB) as lab, lab.client() as client:
        client.estop()
        client.rearm("warm")
        for _ in range(TRIPS):
            asked_s = time.monotonic()
            answer = client.estop(reason="benchmark")
            answered_s = time.monotonic()
            reached = _reached(lab, asked_s, answered_s)
            if len(reached) < len(answer["devices"]):
                raise BenchError(f"the stop reached only {', '.join(reached) or 'nothing'}")
            first_s.append(min(reached.values()) - asked_s)
            last_s.append(max(reached.values()) - asked_s)
            answers_s.append(answered_s - asked_s)
            unconfirmed += sum(not device["confirmed"] for device in answer["devices"])
            client.rearm("benchmark")
    return {
        "devices": len(answer["devices"]),
        "first_instrument": distribution_ms(first_s),
        "last_instrument": distribution_ms(last_s),
        "answer_with_all_confirmations": distribution_ms(answers_s),
        "not_confirmed": unconfirmed,
        "meaning": "request sent to the arrival of the stop command at the simulated instrument, real milliseconds",
    }


def _reached(lab: BenchLab, asked_s: float, answered_s: float) -> dict[str, float]:
    """Return instrument → monotonic time at which the first command after the request reached it."""
    reached: dict[str, float] = {}
    for line in (lab.data / "simulation" / "commands.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if entry["kind"] == "command" and asked_s <= entry["monotonic"] <= answered_s:
            reached.setdefault(entry["instrument"], entry["monotonic"])
    return reached
