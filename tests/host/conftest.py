"""Fixtures for tests of the host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services import MongoServer, RedisServer

from .harness import HostBench, bench_of


@pytest.fixture(scope="module")
def shared_host(
    tmp_path_factory: pytest.TempPathFactory, mongo_server: MongoServer, redis_server: RedisServer
) -> Iterator[HostBench]:
    """A running host for all tests of one file that leave it as they found it."""
    folder = tmp_path_factory.mktemp("host")
    with bench_of(folder, mongo_server.url(f"host_{folder.name}"), redis_server.url) as bench:
        yield bench


@pytest.fixture
def host(shared_host: HostBench) -> HostBench:
    """The file's running host, with no commands in its log."""
    shared_host.commands_file.write_text("")
    return shared_host


@pytest.fixture
def own_host(tmp_path: Path, mongo_url: str, redis_url: str) -> Iterator[HostBench]:
    """A running host of this test alone, which it may kill."""
    with bench_of(tmp_path, mongo_url, redis_url) as bench:
        yield bench
