"""What the documentation shows works."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from modules.contract import lab as lab_file
from modules.contract.lab import Lab, load
from scheduler.catalogue import Catalogue
from scheduler.generator import generate
from scheduler.jobformat import JobRefused, parse
from scheduler.jobformat.model import JobDocument, Range, SampleEntry, Sweep, TaskEntry
from tests.jobs.lab import LABS, ROOT, catalogue

DOCS = ROOT / "docs"
JOB_FORMAT = (DOCS / "reference" / "job-format.md").read_text()
LAB_FILE = (DOCS / "reference" / "lab-file.md").read_text()
MODULE = (DOCS / "how-to" / "write-a-module.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("text", [block for block in blocks(JOB_FORMAT, "yaml") if "workflow" in block])
def test_jobs_in_the_reference_can_be_done(text: str) -> None:
    assert generate(parse(text), catalogue("silver"), UUID(int=0)).steps


@pytest.mark.parametrize("text", [block for block in blocks(JOB_FORMAT, "yaml") if "workflow" not in block])
def test_parts_of_jobs_in_the_reference_are_parts_of_jobs(text: str) -> None:
    assert parse(f"name: x\nworkflow: [{{task: uv_vis.fetch}}]\n{text}").samples


@pytest.mark.parametrize("model", [JobDocument, TaskEntry, SampleEntry, Sweep, Range])
def test_every_key_of_the_job_format_is_explained(model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        assert re.search(rf"`[^`\n]*\b{field.alias or name}\b|^\s*-? ?{field.alias or name}:", JOB_FORMAT, re.MULTILINE)


@pytest.mark.parametrize(
    "name",
    ["ClockSection", "ModuleSection", "ResourceSection", "DeviceSection", "StockSection", "InterlockSection", "Lab"],
)
def test_every_key_of_the_lab_file_is_explained(name: str) -> None:
    model: type[BaseModel] = getattr(lab_file, name)
    for key in model.model_fields.keys() - {"clock", "modules", "devices", "resources", "stocks", "interlocks"}:
        assert f"`{key}`" in LAB_FILE


@pytest.mark.parametrize("package", ["batch_synthesis", "uv_vis", "virtual"])
def test_every_option_of_the_shipped_modules_is_explained(package: str) -> None:
    import importlib

    options = importlib.import_module(f"modules.{package}.manifest").Options
    (row,) = (line for line in LAB_FILE.splitlines() if line.startswith(f"| `modules.{package}`"))
    assert all(f"`{option}`" in row for option in options.model_fields)


def test_limits_in_the_reference_are_the_real_ones() -> None:
    from scheduler.generator.expand import MAX_STEPS
    from scheduler.jobformat import model, text

    (limits,) = (line for line in JOB_FORMAT.splitlines() if line.startswith("Limits:"))
    numbers = [int(number.replace(" ", "")) for number in re.findall(r"\d[\d ]*\d|\d", limits)]
    assert numbers == [
        text.MAX_BYTES // 10**6, text.MAX_DEPTH, text.MAX_NODES, model.MAX_LIST, model.MAX_SAMPLES, model.MAX_TASKS,
        MAX_STEPS,
    ]  # fmt: skip


# --- the module of the how-to


@pytest.fixture
def furnace(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    pytest.importorskip("octolab.sdk")
    module = types.ModuleType("our_furnace")
    exec(compile("\n".join(blocks(MODULE, "python")), "write-a-module.md", "exec", dont_inherit=True), module.__dict__)
    monkeypatch.setitem(sys.modules, "our_furnace", module)
    return module


def furnace_lab(tmp_path: Path, furnace: Any) -> Catalogue:
    path = tmp_path / "lab.toml"
    path.write_text(blocks(MODULE, "toml")[0])
    lab: Lab = load(path)
    section = lab.modules["furnace"]
    return Catalogue(lab, {"furnace": furnace.manifest(section.options)})


def test_a_module_of_somebody_else_needs_no_change_here(tmp_path: Path, furnace: Any) -> None:
    known = furnace_lab(tmp_path, furnace)
    manifest = known.manifests["furnace"]
    assert {step.action for task in manifest.tasks for step in task.steps} == set(furnace.ACTIONS)
    (job,) = blocks(MODULE, "yaml")
    expansion = generate(parse(job), known, UUID(int=0))
    assert [(s.name, s.duration_s, s.block == s.id) for s in expansion.steps if not s.dormant] == [
        ("ramp", 920.0, True),
        ("hold", 3600.0, False),
        ("clear", 60.0, True),
    ]
    with pytest.raises(JobRefused, match="400 °C is too much: 50 °C to 300 °C is possible"):
        generate(parse(job.replace("250", "400")), known, UUID(int=0))


def test_the_shipped_labs_are_named() -> None:
    assert all(path.name in LAB_FILE for path in LABS.glob("*.toml"))
