"""A task that takes all samples of a job together, from a package of its own, through REST to the results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from octolab.client import Octolab

from .processes import ROOT
from .running import running_stack

PACKAGE = """
from octolab.sdk import Action, Device, Manifest, Resource, Result, Step, Task


def parameters(**properties):
    return {"type": "object", "properties": properties, "additionalProperties": False}


def manifest(options):
    return Manifest(
        package="rack_oven", version="1", title="Rack oven",
        devices={"oven": Device()},
        resources={"shelf": Resource(capacity=6, cleanup="unload", put_away="unload")},
        tasks=(
            Task(
                name="load", title="Load", creates_sample=True, parameters=parameters(drop={"type": "boolean"}),
                steps=(Step(name="load", action="load", takes=("shelf",), duration_s="1"),),
            ),
            Task(
                name="roast", title="Roast", sample="many", sample_from="shelf",
                parameters=parameters(crack={"type": "string"}),
                steps=(
                    Step(name="heat", action="heat", devices={"oven": "use"}, duration_s="60"),
                    Step(name="look", action="look", devices={"oven": "use"}, duration_s="1"),
                ),
                results=(
                    Result(name="mass", unit="mg"),
                    Result(name="together", dtype="integer"),
                    Result(name="turn", dtype="integer"),
                ),
            ),
            Task(
                name="weigh", title="Weigh", sample_from="shelf",
                parameters=parameters(expected={"type": "number", "unit": "mg"}),
                steps=(Step(name="weigh", action="weigh", duration_s="1"),),
                results=(Result(name="again", unit="mg"),),
            ),
            Task(
                name="unload", title="Unload", sample_from="shelf", parameters=parameters(),
                steps=(Step(name="unload", action="unload", frees=("shelf",), duration_s="1"),),
            ),
        ),
        actions=tuple(Action(name=name) for name in ACTIONS),
    )


def load(ctx):
    if ctx.parameters["drop"]:
        raise RuntimeError(f"{ctx.sample.name} was dropped")


def heat(ctx):
    ctx.device("oven").run(60)
    for member in ctx.members:
        if member.sample_name == ctx.parameters["crack"]:
            ctx.fail(member, f"{member.sample_name} has cracked")


def look(ctx):
    ctx.record(together=len(ctx.members))
    for turn, member in enumerate(ctx.members):
        ctx.record(member, turn=turn, mass=100.0 + member.places["shelf"])


def weigh(ctx):
    ctx.record(again=ctx.parameters["expected"])


def unload(ctx):
    pass


ACTIONS = {"load": load, "heat": heat, "look": look, "weigh": weigh, "unload": unload}
"""
LAB = """
name = "Rack"

[clock]
scale = 600

[modules.rack]
package = "rack_oven"

[[devices]]
id = "oven"
driver = "modules.drivers.virtual:VirtualDevice"
address = "sim://oven"
simulator = "modules.simulation.virtual:SimulatedVirtual"
"""
JOB = """
name: Together
samples:
  - {name: first, with: {drop: false}}
  - {name: second, with: {drop: false}}
  - {name: third, with: {drop: false}}
  - {name: fourth, with: {drop: true}}
workflow:
  - {task: rack.load, with: {drop: $drop}}
  - {task: rack.roast, with: {crack: second}}
  - {task: rack.weigh, with: {expected: $roast.mass}}
"""


def test_samples_are_done_together_and_fail_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "rack_oven.py").write_text(PACKAGE)
    (tmp_path / "lab.toml").write_text(LAB)
    data = tmp_path / "data"
    environment = {"PYTHONPATH": str(tmp_path)}
    with running_stack(data, "--no-demo", "--lab", str(tmp_path / "lab.toml"), environment=environment) as stack:
        stack.until_it_says("keeps running until Ctrl-C")
        made = subprocess.run(
            [sys.executable, "manage.py", "create_user", "eve", "--token", "--json"],
            cwd=ROOT,
            env={**os.environ, "OCTOLAB_DATA_ROOT": str(data), "OCTOLAB_LAB": str(tmp_path / "lab.toml")},
            capture_output=True,
            text=True,
            check=True,
        )
        with Octolab(stack.running["address"], json.loads(made.stdout)["token"]) as lab:
            job = lab.wait(lab.submit(JOB)["id"], timeout_s=60)
            results = lab.results(job["id"])
            whole = lab.job(job["id"])
        commands = (data / "simulation" / "commands.jsonl").read_text().splitlines()
    assert (whole["state"], whole["samples_failed"]) == ("completed", 2)
    assert {sample["name"]: (sample["state"], sample["reason"]) for sample in whole["samples"]} == {
        "first": ("completed", ""),
        "second": ("failed", "second has cracked"),
        "third": ("completed", ""),
        "fourth": ("failed", "action 'load': RuntimeError: fourth was dropped"),
    }
    # the oven ran once, with all that had come so far; what cracked in it was not looked at
    assert sum(json.loads(line).get("verb") == "RUN" for line in commands) == 1
    assert [step["attempt"] for step in whole["steps"] if step["name"] in ("heat", "look")] == [1, 1]
    measured = {name: {task: plain(run) for task, run in runs.items()} for name, runs in results.values().items()}
    assert {name: runs.get("roast", {}) for name, runs in measured.items()} == {
        "first": {"mass": 100.0, "together": 2, "turn": 0},
        "second": {},
        "third": {"mass": 102.0, "together": 2, "turn": 1},
        "fourth": {},
    }
    assert {name: runs["weigh"] for name, runs in measured.items() if "weigh" in runs} == {
        "first": {"again": 100.0},
        "third": {"again": 102.0},
    }


def plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value["value"] for name, value in values.items()}
