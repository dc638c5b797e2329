"""What ``octolab module new`` writes works as it is, under the name that was asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def octolab(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return run("-m", "octolab.cli", *arguments, folder=folder)


def test_a_new_module_passes_its_check_and_its_tests(tmp_path: Path) -> None:
    begun = octolab("module", "new", "our_balance", folder=tmp_path)
    assert begun.returncode == 0, begun.stderr
    folder = tmp_path / "our_balance"
    assert "our_doser" not in "".join(file.read_text() for file in folder.rglob("*") if file.is_file())
    checked = octolab("module", "check", folder=folder)
    assert checked.returncode == 0, checked.stdout
    assert "our_balance" in checked.stdout
    tested = run("-m", "unittest", folder=folder)
    assert tested.returncode == 0, tested.stderr
    assert "Ran 4 tests" in tested.stderr


def test_a_mistake_is_told_with_file_and_line(tmp_path: Path) -> None:
    octolab("module", "new", "our_balance", folder=tmp_path)
    module = tmp_path / "our_balance" / "our_balance" / "__init__.py"
    module.write_text(module.read_text().replace('unit="mg", description="What', 'unit="mgg", description="What'))
    checked = octolab("module", "check", "our_balance/lab.toml", folder=tmp_path)
    assert checked.returncode == 1
    assert "our_balance/__init__.py:" in checked.stdout
    assert "task 'dose', result 'mass': there is no unit 'mgg'" in checked.stdout


@pytest.mark.parametrize("name", ["json", "modules", "Our-Balance", "class", "../x"])
def test_a_name_that_cannot_be_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    refused = octolab("module", "new", name, folder=tmp_path)
    assert refused.returncode == 2
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "our_balance").mkdir()
    (tmp_path / "our_balance" / "lab.toml").write_text("mine")
    refused = octolab("module", "new", "our_balance", folder=tmp_path)
    assert refused.returncode != 0
    assert (tmp_path / "our_balance" / "lab.toml").read_text() == "mine"
