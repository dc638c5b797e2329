"""What people who write modules import: schema of parameters, and a bench without a server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import event_model
import h5py
import numpy as np
import pytest
from event_model import DocumentNames
from pydantic import BaseModel, Field

from octolab.sdk import parameters_schema, unit
from octolab.sdk.testing import TestBench

from . import bench
from .harness import ROOT


class Recipe(BaseModel):
    """Parameters of a test."""

    volume: float = Field(gt=0, le=5000, json_schema_extra=unit("uL"), description="How much.")
    repeats: int = Field(1, ge=1, json_schema_extra=unit(""))
    solution: str = "water"


def test_a_schema_says_units_ranges_and_defaults() -> None:
    schema = parameters_schema(Recipe)
    assert schema["properties"]["volume"] == {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 5000,
        "unit": "uL",
        "description": "How much.",
    }
    assert schema["properties"]["repeats"]["default"] == 1
    assert schema["required"] == ["volume"]
    assert schema["additionalProperties"] is False


def test_a_number_without_a_unit_is_refused() -> None:
    class Bad(BaseModel):
        volume: float | None = None

    with pytest.raises(ValueError, match=r"Bad\.volume is a number without a unit"):
        parameters_schema(Bad)


@pytest.fixture
def module_bench(tmp_path: Path) -> Iterator[TestBench]:
    """The tests' own module, with its arm."""
    log = tmp_path / "commands.log"
    log.touch()
    arm = bench.Arm("arm", "", clock=None, log=str(log))
    found = TestBench(bench, {"arm": arm}, folder=tmp_path)
    yield found
    found.close()


@pytest.mark.parametrize("task", ["moves", "scan"])
def test_a_task_runs_without_a_server(module_bench: TestBench, task: str) -> None:
    done = module_bench.run(task, {"count": 2})
    assert (done.state, done.error) == ("completed", "")
    assert done.results == {"moved": 2 if task == "moves" else 100}
    assert done.commands[:2] == ["arm: MOVE 0", "arm: MOVE 1"]
    for collection, name in (("run_starts", "start"), ("descriptors", "descriptor"), ("events", "event")):
        assert done.documents[collection]
        for document in done.documents[collection]:
            plain = {key: value for key, value in document.items() if key != "_id"}
            event_model.schema_validators[DocumentNames[name]].validate(plain)


def test_arrays_and_members_can_be_looked_at(module_bench: TestBench) -> None:
    done = module_bench.run("measure", [{"bad": False}, {"bad": True}])
    assert [outcome.ok for outcome in done.outcomes] == [True, False]
    assert done.array("absorbance").tolist() == [0.1, 0.2, 0.3]


class Detector(bench.Arm):
    """Reads 20 counts at once."""

    def read(self) -> dict[str, Any]:
        return {"counts-raw": {"value": np.arange(20.0), "timestamp": 1.0}}

    def describe(self) -> dict[str, Any]:
        return {"counts-raw": {"source": "memory", "dtype": "array", "shape": [20], "units": "counts"}}


def test_arrays_in_events_of_a_plan_go_to_the_file_and_are_no_results(tmp_path: Path) -> None:
    log = tmp_path / "commands.log"
    log.touch()
    found = TestBench(bench, {"arm": Detector("arm", "", clock=None, log=str(log))}, folder=tmp_path)
    done = found.run("spectrum")
    found.close()
    assert (done.state, done.error) == ("completed", "")
    assert set(done.outcomes[0].arrays) == {"absorbance"}
    events = done.documents["events"]
    assert [event["data"]["counts-raw"] for event in events[:2]] == ["counts_raw", "counts_raw_2"]
    assert events[0]["filled"] == {"counts-raw": False}
    with h5py.File(done.data_root / done.outcomes[0].arrays["absorbance"]["file"]) as file:
        assert file["entry"].attrs["default"] == "absorbance"
        assert file["entry/counts_raw_2/counts_raw_2"][()].tolist() == list(range(20))


@pytest.mark.parametrize(("verb", "state"), [("stop", "completed"), ("abort", "aborted"), ("halt", "aborted")])
def test_an_interruption_can_be_tried(module_bench: TestBench, verb: str, state: str) -> None:
    done = module_bench.run("moves", {"count": 1000}, ask=verb)  # type: ignore[arg-type]
    assert done.state == state
    assert ("arm: MOVE home" in done.commands) is (verb != "halt")
    assert len(done.commands) < 10


def test_a_wrong_parameter_is_named(module_bench: TestBench) -> None:
    with pytest.raises(ValueError, match="'colour'"):
        module_bench.run("moves", {"count": 1, "colour": "red"})


def test_the_sdk_and_the_host_load_no_django_and_nothing_heavy() -> None:
    code = (
        "import sys, octolab.sdk, modules.host.service, modules.host.worker\n"
        "heavy = {'django.conf', 'django.apps', 'bluesky', 'h5py', 'scipy', 'numpy', 'ortools'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
