"""Generated requests of three people break nothing and see nothing of each other's; see :mod:`tests.api.fuzz`."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.api.fuzz import attacks, server
from tests.services import MongoServer, RedisServer


@pytest.mark.timeout(560)
def test_generated_requests_break_nothing_and_see_nothing_of_others(
    tmp_path: Path, mongo_server: MongoServer, redis_server: RedisServer
) -> None:
    web = server(tmp_path / "web", mongo_server.url("fuzz"), redis_server.url)
    web.prepare("--full")
    with web:
        assert [text for text in attacks(web, tmp_path) if text] == []
        assert httpx.get(f"{web.url}/api/v1/health", timeout=60).status_code == 200
