from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modules.simulation.testing import Bench, bench


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Bench]:
    """The shipped instruments, fast."""
    with bench(tmp_path, scale=500.0) as made:
        yield made


@pytest.fixture
def slow_lab(tmp_path: Path) -> Iterator[Bench]:
    """The shipped instruments in real time, for what must happen while something moves."""
    with bench(tmp_path, scale=1.0) as made:
        yield made
