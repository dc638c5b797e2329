"""How fast jobs are accepted: ``python -m octolab.bench.submit --url http://127.0.0.1:8000 --token …``.

The clients speak HTTP over one kept connection each and do nothing else, so that they take little of a machine that
they share with the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

NOOP = json.dumps({"name": "bench", "workflow": [{"task": "virtual.noop"}]})
ACCEPTED = 202


@dataclass
class Figures:
    """What was measured."""

    seconds: list[float] = field(default_factory=list)
    """Answer time of each request, real seconds."""
    statuses: Counter[int] = field(default_factory=Counter)
    predicted: int = 0
    """Answers that held a prediction."""
    total_s: float = 0.0

    def percentile_ms(self, percent: float) -> float:
        """Return the answer time that this share of the requests did not exceed, in milliseconds."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] * 1000

    def as_dict(self) -> dict[str, float | dict[str, int]]:
        """Return the figures by name."""
        return {
            "accepted_per_s": round(self.statuses[ACCEPTED] / self.total_s, 1),
            **{f"p{percent}_ms": round(self.percentile_ms(percent), 1) for percent in (50, 95, 99)},
            "max_ms": round(max(self.seconds) * 1000, 1),
            "predicted": self.predicted,
            "statuses": {str(status): number for status, number in sorted(self.statuses.items())},
        }


async def measure(url: str, tokens: list[str], body: bytes, *, jobs: int, clients: int) -> Figures:
    """Submit the same job again and again, from several clients at once."""
    figures = Figures()
    left = iter(range(jobs))
    started_s = time.perf_counter()
    await asyncio.gather(*(_client(url, tokens[n % len(tokens)], body, left, figures) for n in range(clients)))
    figures.total_s = time.perf_counter() - started_s
    return figures


async def _client(url: str, token: str, body: bytes, left: object, figures: Figures) -> None:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port or 80)
    request = (
        f"POST /api/v1/jobs HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    try:
        for _ in left:  # type: ignore[attr-defined]
            sent_s = time.perf_counter()
            writer.write(request)
            status, answer = await _answer(reader)
            figures.seconds.append(time.perf_counter() - sent_s)
            figures.statuses[status] += 1
            if status != ACCEPTED:
                print(answer.decode(errors="replace")[:500], file=sys.stderr)
            elif b'"predicted_start":null' not in answer:
                figures.predicted += 1
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
    return int(head[0].split()[1]), await reader.readexactly(int(headers["content-length"]))


def main() -> None:
    """Measure and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default=os.environ.get("OCTOLAB_URL", "http://127.0.0.1:8000"))
    parser.add_argument("--token", action="append", help="of who submits; repeat for several users")
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--job", type=Path, help="a job as JSON; default: one step that does nothing")
    options = parser.parse_args()
    tokens = options.token or [os.environ["OCTOLAB_TOKEN"]]
    body = (options.job.read_text() if options.job else NOOP).encode()
    figures = asyncio.run(measure(options.url, tokens, body, jobs=options.jobs, clients=options.clients))
    print(json.dumps(figures.as_dict(), indent=2))


if __name__ == "__main__":
    main()
