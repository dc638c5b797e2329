"""The list of what was tried against the server is true: each test that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "explanation" / "security.md"


def test_each_hole_has_its_test() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE.read_text()))
    there = {name for file in HERE.glob("test_*.py") for name in re.findall(r"def (test_\w+)\(", file.read_text())}
    assert len(named) > 35
    assert named - there == set()
