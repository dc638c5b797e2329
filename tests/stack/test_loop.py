"""A closed loop from the command line: it learns, and goes on where it was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from octolab.client import Octolab
from octolab.client.loops import LoopError, load

from .processes import ROOT
from .running import running_stack

PACKAGE = """
from octolab.sdk import Action, Manifest, Result, Step, Task


def manifest(options):
    parameters = {
        "type": "object",
        "properties": {
            "x": {"type": "number", "unit": "µL"},
            "broken": {"type": "boolean", "default": False},
            "endless": {"type": "boolean", "default": False},
        },
        "additionalProperties": False,
    }
    measure = Task(
        name="measure", title="Measure", parameters=parameters, creates_sample=True,
        steps=(Step(name="measure", action="measure", duration_s="60"),),
        results=(Result(name="peak", unit="nm"),),
    )
    return Manifest(
        package="hill", version="1", title="Hill", tasks=(measure,),
        actions=(Action(name="measure", pause="immediate"),),
    )


def measure(ctx):
    if ctx.parameters["broken"]:
        raise RuntimeError("the lamp is out")
    while ctx.parameters["endless"]:
        ctx.sleep(3600)
    ctx.record(peak=400 + ctx.parameters["x"] / 4)


ACTIONS = {"measure": measure}
"""
LAB = 'name = "Hill"\n[clock]\nscale = 60\n[modules.hill]\npackage = "hill"\n'
LOOP = """
campaign: to-600
vary:
  x: {from: 100 µL, to: 1200 µL}
goal: {result: look.peak, aim: 600}
samples: 3
cycles: 4
job:
  name: Towards 600 nm
  workflow:
    - {id: look, task: hill.measure, with: {x: $x}}
"""


def test_a_loop_learns_and_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    (tmp_path / "hill.py").write_text(PACKAGE)
    (tmp_path / "lab.toml").write_text(LAB)
    (tmp_path / "loop.yaml").write_text(LOOP)
    (tmp_path / "other.yaml").write_text(LOOP.replace("1200 µL", "110 µL"))
    (tmp_path / "broken.yaml").write_text(LOOP.replace("to-600", "dark").replace("x: $x}", "x: $x, broken: true}"))
    quick = LOOP.replace("to-600", "given-up").replace("cycles: 4", "cycles: 2")
    (tmp_path / "endless.yaml").write_text(quick.replace("x: $x}", "x: $x, endless: true}"))
    (tmp_path / "quick.yaml").write_text(quick)
    data = tmp_path / "data"
    there = {"PYTHONPATH": str(tmp_path), "OCTOLAB_DATA_ROOT": str(data), "OCTOLAB_LAB": str(tmp_path / "lab.toml")}
    with running_stack(data, "--no-demo", "--lab", str(tmp_path / "lab.toml"), environment=there) as stack:
        stack.until_it_says("keeps running until Ctrl-C")
        made = subprocess.run(
            [sys.executable, "manage.py", "create_user", "eve", "--token", "--json"],
            cwd=ROOT,
            env={**os.environ, **there},
            capture_output=True,
            text=True,
            check=True,
        )
        address, token = stack.running["address"], json.loads(made.stdout)["token"]
        asking = {**os.environ, "OCTOLAB_URL": address, "OCTOLAB_TOKEN": token}

        first = _loop_process(tmp_path / "loop.yaml", asking)
        assert first.stdout is not None
        seen = json.loads(first.stdout.readline())
        first.send_signal(signal.SIGKILL)
        first.communicate()
        second = _loop_process(tmp_path / "loop.yaml", asking)
        text, errors = second.communicate(timeout=120)
        assert second.returncode == 0, errors
        cycles = [json.loads(line) for line in text.splitlines()]

        changed = _loop_process(tmp_path / "other.yaml", asking)
        _, refusal = changed.communicate(timeout=60)
        dark = _loop_process(tmp_path / "broken.yaml", asking)
        nothing, stopped = dark.communicate(timeout=60)
        further = _loop_process(tmp_path / "loop.yaml", asking, "--cycles", "5")
        more, _ = further.communicate(timeout=60)
        with Octolab(address, token) as lab:
            jobs = {job["campaign_key"]: job["id"] for job in lab.jobs(campaign="to-600")}
            given_up = _loop_process(tmp_path / "endless.yaml", asking)
            stack.until(lambda: [job["state"] for job in lab.jobs(campaign="given-up")] == ["running"])
            [unwanted] = lab.jobs(campaign="given-up")
            lab.cancel(unwanted["id"], reason="the wrong wavelength")
            last, ended = given_up.communicate(timeout=60)
            only = [job["id"] for job in lab.jobs(campaign="given-up")]
        resumed = _loop_process(tmp_path / "quick.yaml", asking)
        both, complaint = resumed.communicate(timeout=60)

    assert cycles[0] == seen
    beyond = [json.loads(line) for line in more.splitlines()]
    assert beyond[:4] == cycles
    assert jobs == {f"cycle-{cycle['cycle']}": cycle["job"] for cycle in beyond}
    assert [cycle["cycle"] for cycle in cycles] == [1, 2, 3, 4]
    samples = [sample for cycle in cycles for sample in cycle["samples"]]
    assert len(samples) == 12
    assert all(sample["measured"] == pytest.approx(400 + sample["values"]["x"] / 4) for sample in samples)
    best = min(samples, key=lambda sample: abs(sample["measured"] - 600))
    assert cycles[-1]["best"]["values"] == best["values"]
    assert {cycle["unit"] for cycle in cycles} == {"nm"}
    assert changed.returncode == 1
    assert "another campaign name" in refusal
    assert dark.returncode == 1
    assert [row["measured"] for row in json.loads(nothing)["samples"]] == [None] * 3
    assert "Cycle 1 measured nothing" in stopped
    assert given_up.returncode == 1
    assert "Cycle 1 was cancelled, so the loop ends here. Run it again to go on." in ended
    assert json.loads(last)["job"] == unwanted["id"]
    assert only == [unwanted["id"]], "nothing was made after it"
    assert resumed.returncode == 0, complaint
    assert [json.loads(line)["cycle"] for line in both.splitlines()] == [1, 2]
    assert [row["measured"] is None for row in json.loads(both.splitlines()[0])["samples"]] == [True] * 3


def _loop_process(file: Path, environment: dict[str, str], *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "octolab.cli", "loop", str(file), "--json", *options]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    ("change", "place", "sentence"),
    [
        (("1200 µL", "1 mL"), "", "give both in one unit"),
        (("100 µL", "much"), "", "is not a number with a unit"),
        (("goal: {", "goal: {worth: 1, "), "goal.worth", ""),
        (("  workflow", "  samples: 3\n  workflow"), "job", "the loop itself gives samples"),
        (("look.peak", "peak"), "goal.result", ""),
        (("x: {from", "x: [{from"), "", "is not YAML"),
    ],
)
def test_a_loop_that_is_none_is_refused_with_the_place(
    tmp_path: Path, change: tuple[str, str], place: str, sentence: str
) -> None:
    file = tmp_path / "loop.yaml"
    file.write_text(LOOP.replace(*change))
    with pytest.raises(LoopError) as error:
        load(file)
    assert place in str(error.value)
    assert sentence in str(error.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "loop.yaml"
    file.write_bytes(b"\xff\xfe\x00loop")
    with pytest.raises(LoopError, match="is not YAML"):
        load(file)


def test_the_loop_that_ships_is_one() -> None:
    loop = load(ROOT / "octolab" / "examples" / "loops" / "find-a-colour.yaml")
    settings: Any = loop.settings()
    assert [(dimension.name, dimension.unit) for dimension in settings.space] == [("agno3", "µL"), ("nabh4", "µL")]
