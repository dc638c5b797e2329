"""A short run of chaos with a fixed seed: ``pytest -m chaos``. Long ones: ``deploy/chaos``."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.stack.processes import ROOT

FAULTS = 6


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_promises_are_kept_under_a_few_faults() -> None:
    command = [sys.executable, "-m", "tests.chaos", "--virtual", "--faults", str(FAULTS), "--minutes", "4"]
    done = subprocess.run([*command, "--seed", "5"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    found = {name: int(count) for name, count in re.findall(r"^(\w[\w ]+?) {2,}(\d+)$", done.stdout, re.MULTILINE)}
    assert found["faults injected"] >= FAULTS
    assert found["commands checked"] > 0
    assert found["notifications"] > 0
    assert found["violations"] == 0
