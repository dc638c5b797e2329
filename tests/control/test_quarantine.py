"""What a host says about drivers that have failed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.harness import HostBench, bench_of


@pytest.fixture
def host(tmp_path: Path, mongo_url: str, redis_url: str) -> Iterator[HostBench]:
    with bench_of(tmp_path, mongo_url, redis_url) as bench:
        yield bench


@pytest.mark.parametrize(
    ("how", "broken"), [("unplugged", {"arm": "was unplugged"}), ("broken", {"arm": "broke"}), ("bug", {})]
)
def test_a_failed_attempt_names_the_devices_whose_drivers_failed(
    host: HostBench, how: str, broken: dict[str, str]
) -> None:
    record = host.run(host.order("failing", {"how": how}))
    assert (record["state"], record["broken"]) == ("failed", broken)
