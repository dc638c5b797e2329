"""``python -m tests.host.benchmark``: how fast one host claims, runs and closes orders that do nothing.

Not a test. Everything runs on this machine: store, broker, host, and this sender.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from modules.contract.messages import ORDER_TASK, Order, queue
from tests.services import MongoServer, RedisServer

from .harness import HostBench, step, wait_for


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=2000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        mongo, redis_server = MongoServer(root / "mongo"), RedisServer(root / "redis")
        mongo.start()
        redis_server.start()
        host = HostBench(root / "host", mongo.url(), redis_server.url)
        try:
            host.start()
            time.sleep(10)
            print(f"memory at rest: {resident_mb(host):.1f} MB")
            latency(host, 200)
            drain(host, mongo, arguments.orders)
            print(f"memory after the drain: {resident_mb(host):.1f} MB")
        finally:
            host.close()
            redis_server.kill()
            mongo.kill()


def latency(host: HostBench, count: int) -> None:
    """Print the time from sending an order to the first line of its action."""
    took_ms = []
    for _ in range(count):
        order = host.order("mark")
        with host.celery.connection_for_write() as connection:
            connection.ensure_connection()
            producer = host.celery.amqp.Producer(connection)
            sent = time.time()
            host.celery.send_task(
                ORDER_TASK, args=[order.model_dump(mode="json")], queue=queue("bench"), producer=producer
            )
            time.sleep(0.03)  # a store that is asked all the time would be slower
            record = host.closed(order.attempt_id)
        took_ms.append((record["outcomes"][0]["results"]["noise"] - sent) * 1000)
    took_ms.sort()
    print(f"message to first line: median {statistics.median(took_ms):.1f} ms, p95 {took_ms[int(count * 0.95)]:.1f} ms")


def drain(host: HostBench, mongo: MongoServer, count: int) -> None:
    """Print how many waiting orders are done per second."""
    assert host.process is not None
    orders: list[Order] = [
        host.order("noop", steps=[step("noop", {})], deadline_at=host.order("noop").deadline_at.replace(year=2100))
        for _ in range(count)
    ]
    host.process.send_signal(19)
    for order in orders:
        host.send(order)
    used = cpu_s(host.process.pid), cpu_s(mongo.pid)
    began = time.monotonic()
    host.process.send_signal(18)
    last = orders[-1].attempt_id
    wait_for(lambda: (host.attempt(last) or {}).get("state") == "completed", 120)
    wait_for(lambda: all(host.closed(order.attempt_id) for order in orders[-50:]), 120)
    took_s = time.monotonic() - began
    done = len(host.store.find("attempts", {"state": "completed"}))
    print(f"drained {count} orders in {took_s:.2f} s: {count / took_s:.0f}/s ({done} completed)")
    print(f"CPU: host {cpu_s(host.process.pid) - used[0]:.2f} s, store {cpu_s(mongo.pid) - used[1]:.2f} s")


def resident_mb(host: HostBench) -> float:
    """Return the host's resident memory."""
    assert host.process is not None
    status = Path(f"/proc/{host.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def cpu_s(pid: int) -> float:
    """Return the CPU seconds a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
