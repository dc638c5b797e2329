"""An instrument person's own package, exactly as the how-to page writes it, on a whole stack."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

from .processes import ROOT
from .running import RunningStack

PAGE = (ROOT / "docs" / "how-to" / "write-a-module.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def write_what_the_page_says(folder: Path) -> None:
    """Write each block into the file that its first line names; one that goes on is added."""
    for block in (block for language in ("python", "toml", "yaml") for block in blocks(language)):
        name = re.match(r"# ([\w./]+)", block)
        assert name, block
        file = folder / name[1]
        file.parent.mkdir(exist_ok=True)
        with file.open("a", encoding="utf-8") as opened:
            opened.write(block)


def test_the_module_of_the_page_runs_its_job(tmp_path: Path) -> None:
    folder = tmp_path / "furnace-lab"
    folder.mkdir()
    write_what_the_page_says(folder)
    (command,) = blocks("sh")
    path, program, *arguments = shlex.split(command)
    assert (path, program) == ("PYTHONPATH=.", "octolab/deploy/up")
    stack = RunningStack(
        tmp_path / "data",
        *("--port", "0", *arguments),
        environment={"PYTHONPATH": f".{os.pathsep}{ROOT}"},
        directory=folder,
    )
    assert stack.wait() == 0, stack.output
    assert "Furnace lab is running (simulated), at 600 times real time" in stack.output
    reached = re.search(r"^sample 1 +completed +([\d.]+)", stack.output.partition("reached")[2], re.MULTILINE)
    assert reached, stack.output
    assert 249 <= float(reached[1]) <= 251
