"""Fixtures of the scheduler's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection

from tests.scheduler.harness import Bench


@pytest.fixture
def make_bench(transactional_db: None, mongo_url: str, redis_url: str) -> Iterator[Callable[..., Bench]]:
    """Make a scheduler with a host, on empty stores."""
    made: list[Bench] = []
    with connection.cursor() as cursor:
        # Knox creates its own table beside ours, and PostgreSQL empties no table that another one refers to.
        cursor.execute("DROP TABLE IF EXISTS knox_authtoken")

    def make(**options: Any) -> Bench:
        made.append(Bench(mongo_url, redis_url, **options))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    """A scheduler with a host, on empty stores."""
    return make_bench()
