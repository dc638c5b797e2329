"""The people of the lab: one who submits jobs, an operator who decides, and somebody who is told."""

from __future__ import annotations

import contextlib
import json
import random
import re
import threading
import time
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

from octolab.client import InvalidError, Octolab, OctolabError

from . import lab as chaos_lab
from .lab_under_fire import Missed

OPEN_JOBS = 5
OPEN_SILVER_JOBS = 1
LOOK_S = 0.5
_TROUBLE = (OctolabError, httpx.HTTPError, OSError)
FINAL = {"completed", "failed", "cancelled"}


class Submitter(threading.Thread):
    """Keeps some jobs open, cancels one now and then, and remembers everything that it was told.

    Attributes
    ----------
    accepted
        Id, name, sample ids and step ids of each accepted job.
    refused
        Why jobs were refused.
    """

    def __init__(self, client: Callable[[], Octolab], seed: str, *, silver: bool) -> None:
        super().__init__(name="submitter", daemon=True)
        self.accepted: list[dict[str, Any]] = []
        self.refused: list[str] = []
        self.end = threading.Event()
        self._client = client
        self._chance = random.Random(f"{seed}/jobs")
        self._silver = silver
        self._open: dict[str, str] = {}
        self._count = 0

    def run(self) -> None:
        with self._client() as lab:
            while not self.end.wait(LOOK_S):
                with contextlib.suppress(*_TROUBLE):
                    self._look(lab)

    def _look(self, lab: Octolab) -> None:
        for job_id in list(self._open):
            if lab.job(job_id, include="none")["state"] in FINAL:
                del self._open[job_id]
        kinds = list(self._open.values())
        if kinds.count("virtual") < OPEN_JOBS:
            self._submit(lab, "virtual", chaos_lab.virtual_job)
        if self._silver and kinds.count("silver") < OPEN_SILVER_JOBS:
            self._submit(lab, "silver", chaos_lab.silver_job)
        if self._open and self._chance.random() < 0.02:
            lab.cancel(self._chance.choice(sorted(self._open)), reason="chaos")

    def _submit(self, lab: Octolab, kind: str, make: Callable[[random.Random, str], dict[str, Any]]) -> None:
        self._count += 1
        name = f"{kind}-{self._count}"
        job = make(self._chance, name)
        while True:
            try:
                answer = lab.submit(json.dumps(job), key=name)
                parts = lab.job(answer["id"])
            except InvalidError as error:
                self.refused.append(f"{name}: {error}")
                return
            except _TROUBLE:
                # Whether it was accepted is not known: the same key asks for the same job.
                if self.end.wait(LOOK_S):
                    self.end.clear()
                    self._last(lab, name, job)
                    self.end.set()
                    return
                continue
            self._note(name, kind, parts)
            return

    def _last(self, lab: Octolab, name: str, job: dict[str, Any]) -> None:
        give_up_s = time.monotonic() + 60
        while time.monotonic() < give_up_s:
            try:
                self._note(name, "", lab.job(lab.submit(json.dumps(job), key=name)["id"]))
                return
            except _TROUBLE:
                time.sleep(LOOK_S)

    def _note(self, name: str, kind: str, job: dict[str, Any]) -> None:
        self._open[job["id"]] = kind
        self.accepted.append(
            {
                "id": job["id"],
                "name": name,
                "samples": [sample["id"] for sample in job["samples"]],
                "steps": [step["id"] for step in job["steps"]],
            }
        )


class Operator(threading.Thread):
    """Decides on interrupted steps, and takes out by hand what has to be taken out."""

    def __init__(self, client: Callable[[], Octolab], hands: Callable[..., dict[str, Any]], seed: str) -> None:
        super().__init__(name="operator", daemon=True)
        self._hands = hands
        self.end = threading.Event()
        self.decisions = 0
        self._client = client
        self._chance = random.Random(f"{seed}/operator")

    def run(self) -> None:
        with self._client() as lab:
            while not self.end.wait(LOOK_S):
                with contextlib.suppress(*_TROUBLE):
                    self._decide(lab)
                with contextlib.suppress(*_TROUBLE):
                    self._collect(lab)
                with contextlib.suppress(*_TROUBLE):
                    self._clear(lab)

    def _clear(self, lab: Octolab) -> None:
        for device in lab.devices():
            if device["reason"].startswith("in quarantine"):
                if device["id"] in chaos_lab.SILVER_DEVICES and not self._tidy([device["id"]]):
                    continue
                with contextlib.suppress(*_TROUBLE):
                    lab.clear_device(device["id"], "looked at it")

    def _decide(self, lab: Octolab) -> None:
        for step in lab.attention()["steps"]:
            # A virtual device is as it was, whatever one says. At the silver bench only one answer is always true.
            virtual = step["module"] in chaos_lab.VIRTUAL
            if not virtual and not self._tidy(step["devices"]):
                continue
            decision = self._chance.choices(("done", "failed", "repeat"), (3, 3, 4))[0] if virtual else "failed"
            with contextlib.suppress(*_TROUBLE):
                lab.decide(step["id"], decision, f"looked at {', '.join(step['devices']) or 'the bench'}")
                self.decisions += 1

    def _tidy(self, devices: Iterable[str]) -> bool:
        """Do what an operator does at the bench before deciding; False while something still moves there."""
        try:
            # A pump that still pushes must keep its nozzle where it is.
            for device in sorted(devices, key=lambda device: not device.startswith("pump")):
                self._hands(do="tidy", instrument=device)
            standing = self._hands(do="state")["world"]["standing"]
            if not {"gripper", "cuvette_holder", "spectrometer"} & set(standing):
                for number in range(1, chaos_lab.CUVETTES + 1):
                    if f"cuvette.{number}" not in standing:
                        self._hands(do="fill", place=f"cuvette.{number}")
        except Missed:
            return False
        return True

    def _collect(self, lab: Octolab) -> None:
        for job in lab.jobs(state="needs_operator"):
            if "collected" not in (job.get("state_reason") or ""):
                continue
            for sample in lab.job(job["id"])["samples"]:
                with contextlib.suppress(*_TROUBLE):
                    for place in sample["places"]:
                        self._take_out(place)
                    lab.collect(sample["id"])

    def _take_out(self, place: str) -> None:
        """Do at the bench what is told to the server: an empty working place, a fresh vial in the storage."""
        with contextlib.suppress(Missed):
            self._hands(do="collect", place=place)


class Listener:
    """Takes messages as a chat service would, and fails on request."""

    def __init__(self) -> None:
        self.delivered: list[dict[str, Any]] = []
        self.broken = threading.Event()
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                if listener.broken.is_set():
                    self.send_response(503)
                else:
                    listener._take(body)
                    self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, name="listener", daemon=True).start()

    @property
    def url(self) -> str:
        """The URL of a channel that leads here."""
        return f"json://127.0.0.1:{self._server.server_port}/"

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()

    def _take(self, body: str) -> None:
        job = re.search(r"/jobs/([0-9a-f-]{36})", body)
        words = {
            "» is finished": "finished",
            "» has failed": "failed",
            "» was cancelled": "cancelled",
            "» needs an operator": "needs_operator",
            " runs low": "stock_low",
        }
        event = next((event for text, event in words.items() if text in json.loads(body)["title"]), "test")
        self.delivered.append({"job_id": job[1] if job else None, "event": event})
