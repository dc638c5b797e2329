"""Schemathesis over the whole OpenAPI document, against the real server: no 5xx, no undocumented answer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.services import MongoServer, RedisServer
from tests.web import WebServer

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


@pytest.mark.timeout(280)
def test_no_generated_request_breaks_the_server(
    tmp_path: Path, mongo_server: MongoServer, redis_server: RedisServer
) -> None:
    web = WebServer(tmp_path / "web", mongo_url=mongo_server.url("fuzz"), redis_url=redis_server.url)
    web.prepare()
    with web:
        document = httpx.get(f"{web.url}/api/v1/openapi.json", timeout=60).json()
        events = document["paths"]["/api/v1/events"]["get"]
        # It would really wait.
        events["parameters"] = [row for row in events["parameters"] if row["name"] != "wait"]
        path = tmp_path / "openapi.json"
        path.write_text(json.dumps(document))
        done = subprocess.run(
            [
                *(str(Path(sys.executable).parent / "schemathesis"), "run", str(path), "--url", web.url),
                *("--header", f"Authorization: Bearer {web.people['olga']['token']}"),
                *("--checks", CHECKS, "--phases", "coverage,fuzzing", "--max-examples", "1", "--seed", "1"),
                # The token in use would revoke itself.
                *("--exclude-operation-id", "tokens_revoke", "--no-color", "--request-timeout", "60"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (
            done.stdout[-8000:] + done.stderr[-2000:] + (web.directory / "log").read_text()[-3000:]
        )
        assert httpx.get(f"{web.url}/api/v1/health", timeout=60).status_code == 200
