"""``kill -9`` of any one process in the middle of a job: nothing is lost, and nothing is done twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from analysis.documents import DocumentStore
from octolab.client import FINAL, Octolab

from .running import RunningStack, running_stack

SCALE = "1200"
PROCESSES = ("web", "scheduler", "host", "services", "simulation", "redis", "documents")
SAMPLES = 2
ENDS = {"stop_stirring": "stir", "stop_heating": "heat"}
"""Task that switches a setting off → task that sets it."""
SWITCHED = frozenset(("stirrer", f"{verb}_{number}") for verb in ("OUT_SP", "START", "STOP") for number in (1, 4))
"""Stirring and heating go on and off once for all samples, or for each if one is lost before the next comes."""
CLEARED: Counter[tuple[str, str]] = Counter(
    {("pipette", "M17"): 1, ("pipette", "G0"): 3, ("pipette", "M2232"): 2, ("pipette", "G2202"): 1}
)
"""A pipette that was stopped over a lost sample rises, parks and throws its tip away before anybody goes on."""
Moves = Counter[tuple[str, str]]


def recipe() -> str:
    """Return the demo job with fewer samples."""
    path = Path(__file__).parents[2] / "octolab" / "examples" / "silver-nanoparticles.yaml"
    text = path.read_text(encoding="utf-8")
    assert "count: 6" in text
    return text.replace("count: 6", f"count: {SAMPLES}")


def moves(data: Path) -> Moves:
    """Return how often each instrument was told to move, by the simulation's own log."""
    found: Moves = Counter()
    for line in (data / "simulation" / "commands.jsonl").read_text().splitlines():
        command = json.loads(line)
        # A pump that was asked again, because its answer came late, acknowledges without moving.
        if command["kind"] == "command" and command["moves"] and command.get("executed", command["accepted"]):
            found[command["instrument"], command["verb"]] += 1
    return found


def client(stack: RunningStack) -> Octolab:
    """Return a client of the demo user, who is an operator too."""
    token = stack.data.with_name("token").read_text()
    # The web process may be the one that is killed, and takes its time to be back on a busy machine.
    return Octolab(stack.running["address"], token, tries=40)


def attempts(stack: RunningStack) -> list[dict[str, Any]]:
    """Return the records of all attempts."""
    with closing(DocumentStore(stack.running["documents"])) as store:
        return [dict(document) for document in store.find("attempts", {})]


def make_token(stack: RunningStack) -> None:
    """Make a user of the stack, as a script would."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "octolab.settings",
        "OCTOLAB_DATA_ROOT": str(stack.data),
        "OCTOLAB_MONGO_URL": stack.running["documents"],
        "OCTOLAB_SECRET_KEY_FILE": str(stack.data / "secrets" / "secret_key"),
        "OCTOLAB_DATABASE_URL": f"sqlite:///{stack.data / 'octolab.sqlite3'}",
    }
    command = [sys.executable, "manage.py", "create_user", "ada", "--token", "--json", "--operator"]
    command += ["--scopes", "jobs:read,jobs:write,devices:read,devices:control"]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
    stack.data.with_name("token").write_text(json.loads(done.stdout)["token"])


def run_job(stack: RunningStack, kill: str | None = None, at: float = 0.0) -> dict[str, Any]:
    """Run the recipe to its end; kill a process when that share of the steps is done."""
    make_token(stack)
    with client(stack) as lab:
        stack.until(lambda: all(module["manifest"] for module in lab.modules()))
        stack.until(lambda: all(device["state"] == "idle" for device in lab.devices()))
        job = lab.submit(recipe())
        if kill:
            total = job["steps_total"]
            stack.until(lambda: lab.job(job["id"], include="none")["steps_done"] >= at * total)
            os.kill(stack.pids[kill], signal.SIGKILL)
        stack.until(lambda: looked_after(lab, job["id"]))
        return lab.job(job["id"])


def looked_after(lab: Octolab, job: str) -> bool:
    """Release what is in quarantine since its instrument was gone, as an operator would; tell if the job is over."""
    for device in lab.devices():
        if device["reason"].startswith("in quarantine"):
            lab.clear_device(device["id"], "it answers again")
    return lab.job(job, include="none")["state"] in FINAL | {"needs_operator"}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Moves:
    """What the instruments are told when nobody kills anything."""
    with running_stack(tmp_path_factory.mktemp("reference") / "data", "--no-demo", "--scale", SCALE) as stack:
        stack.until_it_says("keeps running until Ctrl-C")
        job = run_job(stack)
        assert job["state"] == "completed", job["state_reason"]
        return moves(stack.data)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", PROCESSES)
def test_nothing_is_lost_or_doubled(name: str, tmp_path: Path, undisturbed: Moves) -> None:
    at = random.uniform(0.1, 0.8)
    print(f"{name} is killed when {at:.0%} of the steps are done")
    with running_stack(tmp_path / "data", "--no-demo", "--scale", SCALE) as stack:
        stack.until_it_says("keeps running until Ctrl-C")
        job = run_job(stack, kill=name, at=at)
        stack.until_it_says(f"{name} is ready again")
        found = attempts(stack)
        told = moves(stack.data)

    completed = Counter(attempt["step_ids"][0] for attempt in found if attempt["state"] == "completed")
    assert max(completed.values()) == 1
    repeated = [a for a in found if a["state"] == "interrupted" and a["touched"] and completed[a["step_ids"][0]]]
    assert repeated == [], "a step that had touched a device was done again without an operator"

    lost = sum(sample["state"] == "failed" for sample in job["samples"])
    most = undisturbed + Counter({key: lost * count for key, count in CLEARED.items()})
    more = {key: (count, most[key]) for key, count in told.items() if count > most[key]}
    if job["state"] == "completed" and not lost:
        assert told == undisturbed, (at, told - undisturbed, undisturbed - told)
    else:
        # A device that vanished may have lost its step's sample, or somebody has to look at the bench: then less has
        # been done than the recipe says, and nothing more.
        assert name in ("host", "simulation"), (name, job["state"], job["state_reason"])
        switched = {key for key in more if key in SWITCHED and told[key] <= 2 * SAMPLES}
        assert set(more) == switched, (at, job["state_reason"], more)
        assert_nothing_off_is_switched_off(job, found)


def assert_nothing_off_is_switched_off(job: dict[str, Any], found: list[dict[str, Any]]) -> None:
    """After a switch-off that was done comes another one only if the setting was set in between."""
    task = {step["id"]: step["task_name"] for step in job["steps"]}
    for ending, setting in ENDS.items():
        off = False
        for attempt in sorted(found, key=lambda attempt: attempt["claimed_lab_s"] or 0.0):
            match task[attempt["step_ids"][0]]:
                case name if name == setting and attempt["touched"]:
                    off = False
                case name if name == ending:
                    assert not off, (ending, attempt)
                    off = attempt["state"] == "completed"
