"""Generated requests of three people break nothing and see nothing of each other's; see :mod:`tests.api.fuzz`."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.api.fuzz import attacks
from tests.services import MongoServer, RedisServer
from tests.web import WebServer


@pytest.mark.timeout(280)
def test_generated_requests_break_nothing_and_see_nothing_of_others(
    tmp_path: Path, mongo_server: MongoServer, redis_server: RedisServer
) -> None:
    web = WebServer(tmp_path / "web", mongo_url=mongo_server.url("fuzz"), redis_url=redis_server.url)
    web.prepare("--full")
    with web:
        assert [text for text in attacks(web, tmp_path, long=False) if text] == []
        assert httpx.get(f"{web.url}/api/v1/health", timeout=60).status_code == 200
