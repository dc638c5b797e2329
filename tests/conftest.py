"""Fixtures that all tests may use."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from tests.services import MongoServer, RedisServer

# How long an example takes says more about the machine than about the code.
hypothesis_settings.register_profile("octolab", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("octolab")


@pytest.fixture(scope="session")
def mongo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    """The session's MongoDB wire server. A test that kills it starts one of its own instead."""
    server = MongoServer(tmp_path_factory.mktemp("mongo"))
    with server:
        yield server


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The session's Redis. A test that kills it starts one of its own instead."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    with server:
        yield server


@pytest.fixture
def mongo_url(mongo_server: MongoServer) -> str:
    """URL of an empty database of the session's MongoDB wire server."""
    return mongo_server.url(f"test_{uuid.uuid4().hex[:12]}")


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """URL of the session's Redis, emptied."""
    import redis

    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def data_root(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """An empty data root of this test alone; Django's settings point to it."""
    settings = request.getfixturevalue("settings")
    root = tmp_path / "data"
    root.mkdir()
    settings.DATA_ROOT = root
    return root


@pytest.fixture(autouse=True)
def _nothing_kept_from_the_test_before() -> None:
    """Forget who has tried passwords, who has come how often, and what the modules offer."""
    from django.core.cache import cache

    from octolab.rates import rates
    from scheduler import catalogue

    cache.clear()
    rates().forget()
    catalogue.forget()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses the relational database: ``deploy/test`` runs it on SQLite and on PostgreSQL."""
    fixtures = {"db", "transactional_db", "django_db_setup"}
    for item in items:
        if item.get_closest_marker("django_db") or fixtures & set(getattr(item, "fixturenames", ())):
            item.add_marker("database")
