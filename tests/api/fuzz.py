"""Schemathesis over the whole OpenAPI document as three people, against the real server.

No 5xx, no undocumented answer, and nothing of what belongs to somebody else. ``python -m tests.api.fuzz --examples 20``
does it at length; ``deploy/test`` does it once in short.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.services import MongoServer, RedisServer
from tests.web import WebServer

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
PEOPLE = ("ann", "ben", "olga", "ada")
RIGHTFUL = {"olga": ("/api/v1/events", "/api/v1/storage", "/api/v1/operator/"), "ada": ("/api/v1/audit",)}
"""Where an operator sees why a device changed and whose samples stand where, and a lab admin who did what."""


def server(directory: Path, mongo_url: str, redis_url: str) -> WebServer:
    """Return a web process that answers any number of requests, not started yet."""
    any_number = {f"OCTOLAB_REQUESTS_{name}": "0" for name in ("PER_USER", "PER_ADDRESS", "ANONYMOUS")}
    return WebServer(directory, mongo_url=mongo_url, redis_url=redis_url, **any_number)


def document(web: WebServer) -> dict[str, Any]:
    """Return the OpenAPI document, without what would really wait."""
    shown: dict[str, Any] = httpx.get(f"{web.url}/api/v1/openapi.json", timeout=60).json()
    events = shown["paths"]["/api/v1/events"]["get"]
    events["parameters"] = [row for row in events["parameters"] if row["name"] != "wait"]
    return shown


def aimed_at(shown: dict[str, Any], victim: dict[str, Any]) -> dict[str, Any]:
    """Return the document with the ids of somebody's things as examples, so that requests meet them."""
    aims = {"job_id": "job", "sample_id": "sample", "step_id": "step", "channel_id": "channel", "slug": "team",
            "token_id": "other_token", "name": "file", "reference": "marker"}  # fmt: skip
    aimed: dict[str, Any] = json.loads(json.dumps(shown))
    for path in aimed["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path" and parameter["name"] in aims:
                    parameter["schema"] = {"type": "string", "enum": [victim[aims[parameter["name"]]]]}
    return aimed


def attack(web: WebServer, name: str, shown: dict[str, Any], directory: Path, phases: str, examples: int) -> str:
    """Send generated requests in somebody's name; return what is wrong, or nothing."""
    path, cassette = directory / "openapi.json", directory / "cassette.har"
    path.write_text(json.dumps(shown))
    cassette.unlink(missing_ok=True)
    done = subprocess.run(
        [
            *(str(Path(sys.executable).parent / "schemathesis"), "run", str(path), "--url", web.url),
            *("--header", f"Authorization: Bearer {web.people[name]['token']}"),
            *("--checks", CHECKS, "--phases", phases, "--max-examples", str(examples), "--seed", "1"),
            # The token in use would revoke itself.
            *("--exclude-operation-id", "tokens_revoke"),
            *("--no-color", "--request-timeout", "60", "--report", "har", "--report-har-path", str(cassette)),
        ],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        log = (web.directory / "log").read_text()
        return f"as {name}:\n{done.stdout[-6000:]}{done.stderr[-2000:]}\n{log[-3000:]}"
    return "\n".join(leaks(web, name, cassette))


def leaks(web: WebServer, name: str, cassette: Path) -> Iterator[str]:
    """Yield each answer in which a word of somebody else's stands that was not in the request."""
    foreign = {other: web.people[other]["marker"] for other in PEOPLE if other != name}
    answered = 0
    for entry in json.loads(cassette.read_text())["log"]["entries"]:
        answered += entry["response"]["status"] < 300
        asked, answer = json.dumps(entry["request"]), json.dumps(entry["response"])
        if urlsplit(entry["request"]["url"]).path.startswith(RIGHTFUL.get(name, ("?",))):
            continue
        for other, marker in foreign.items():
            if marker in answer and marker not in asked:
                yield f"{name} sees what is {other}'s: {entry['request']['method']} {entry['request']['url']}"
    if answered < 20:
        yield f"only {answered} requests of {name} were answered well: the attack says nothing"


def attacks(
    web: WebServer, directory: Path, people: Iterable[str] = ("ann", "ben", "olga"), *, examples: int = 1
) -> Iterator[str]:
    """Attack as each in full, and once more at each other's things. Yield what is wrong."""
    shown = document(web)
    for name in people:
        victim = web.people["ben" if name == "ann" else "ann"]
        yield attack(web, name, shown, directory, "coverage,fuzzing", examples)
        yield attack(web, name, aimed_at(shown, victim), directory, "fuzzing", examples)


def main() -> int:
    """Attack at length."""
    parser = argparse.ArgumentParser(prog="python -m tests.api.fuzz", description=__doc__)
    parser.add_argument("--examples", type=int, default=20, help="requests for each operation and person")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="octolab-fuzz-") as folder:
        directory = Path(folder)
        with MongoServer(directory / "mongo") as mongo, RedisServer(directory / "redis") as redis:
            assert isinstance(mongo, MongoServer)
            assert isinstance(redis, RedisServer)
            web = server(directory / "web", mongo.url("fuzz"), redis.url)
            web.prepare("--full")
            with web:
                found = [text for text in attacks(web, directory, PEOPLE, examples=options.examples) if text]
    print("\n".join(found) or "Nothing was found.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
