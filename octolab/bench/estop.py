"""How long it takes from the request for an emergency stop to the stop command at each instrument."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from typing import Any

from octolab.client import Octolab
from octolab.stack.options import DEFAULT_LAB

from .figures import distribution_ms
from .lab import BenchError, BenchLab, bench_lab

TRIPS = 30
TRIPS_WITHOUT_REDIS = 15
SEEN_WITHIN_S = 5.0


def run() -> dict[str, Any]:
    """Trip and re-arm the shipped lab again and again; then without Redis, where hosts find it in the store."""
    with bench_lab(DEFAULT_LAB) as lab, lab.client() as client:
        client.estop()
        client.rearm("warm")
        figures = _trips(lab, client, TRIPS, heard=True)
        with _without_redis(lab):
            figures["without_redis"] = _trips(lab, client, TRIPS_WITHOUT_REDIS, heard=False)
    figures["meaning"] = "request sent to the arrival of the stop command at the simulated instrument, real ms"
    return figures


def _trips(lab: BenchLab, client: Octolab, count: int, *, heard: bool) -> dict[str, Any]:
    first_s: list[float] = []
    last_s: list[float] = []
    answers_s: list[float] = []
    unconfirmed = devices = 0
    for _ in range(count):
        if not heard:
            # Hosts look once a second: be as likely to ask at any moment in between.
            time.sleep(1 + random.random())
        asked_s = time.monotonic()
        answer = client.estop(reason="benchmark")
        answers_s.append(time.monotonic() - asked_s)
        if bool(answer["hosts_heard"]) != heard:
            raise BenchError(f"{answer['hosts_heard']} hosts were reached over Redis")
        devices = len(answer["devices"])
        reached = _reached(lab, asked_s, devices)
        first_s.append(min(reached.values()) - asked_s)
        last_s.append(max(reached.values()) - asked_s)
        unconfirmed += sum(not device["confirmed"] for device in answer["devices"])
        client.rearm("benchmark")
    return {
        "devices": devices,
        "first_instrument": distribution_ms(first_s),
        "last_instrument": distribution_ms(last_s),
        "answer": distribution_ms(answers_s),
        "not_confirmed_in_the_answer": unconfirmed,
    }


def _reached(lab: BenchLab, asked_s: float, devices: int) -> dict[str, float]:
    """Return instrument → monotonic time at which the first command after the request reached it."""
    give_up_s = time.monotonic() + SEEN_WITHIN_S
    while True:
        reached: dict[str, float] = {}
        for line in (lab.data / "simulation" / "commands.jsonl").read_text().splitlines():
            entry = json.loads(line)
            if entry["kind"] == "command" and entry["monotonic"] >= asked_s:
                reached.setdefault(entry["instrument"], entry["monotonic"])
        if len(reached) >= devices:
            return reached
        if time.monotonic() > give_up_s:
            raise BenchError(f"the stop reached only {', '.join(reached) or 'nothing'}")
        time.sleep(0.05)


@contextlib.contextmanager
def _without_redis(lab: BenchLab) -> Iterator[None]:
    """Kill Redis, and keep the supervisor from starting it again meanwhile."""
    supervisor = int(lab.running["supervisor"])
    (redis,) = lab.pids("redis")
    os.kill(supervisor, signal.SIGSTOP)
    try:
        os.kill(redis, signal.SIGKILL)
        yield
    finally:
        os.kill(supervisor, signal.SIGCONT)
