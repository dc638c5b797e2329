"""Processes that die at any moment: nothing is lost, nothing is done twice."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.scheduler.harness import PATIENCE_S, wait_until
from tests.scheduler.world import World


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test leaves an empty database for the others."""
    return tmp_path_factory.mktemp("template") / "empty.sqlite3"


@pytest.fixture
def world(tmp_path: Path, template: Path) -> Iterator[World]:
    with World(tmp_path, template) as world:
        yield world


def test_the_scheduler_killed_at_random_moments(world: World) -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    scheduler = world.start_scheduler()
    jobs = len(world.submit(45))
    for _ in range(4):
        # Most of these hit a running loop; the first may hit the start.
        time.sleep(rng.uniform(0.8, 2.0))
        scheduler.kill()
        scheduler.wait()
        scheduler = world.start_scheduler()
    world.wait_for_all()
    world.check(jobs)
    # All may be done before the last one has come up; it can only end in good order once it has.
    wait_until(lambda: f":{scheduler.pid}:" in world.leader()[1])
    scheduler.terminate()
    assert scheduler.wait(PATIENCE_S) == 0


def test_redis_emptied_and_killed_in_the_middle(world: World) -> None:
    world.start_scheduler()
    jobs = len(world.submit(30))
    with redis.Redis.from_url(world.redis.url) as client:
        for _ in range(5):
            client.flushall()
            time.sleep(0.3)
    world.redis.kill()
    jobs += len(world.submit(6))
    time.sleep(1)
    world.redis.start()
    world.wait_for_all()
    world.check(jobs)


def test_the_document_store_killed_in_the_middle(world: World) -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    world.start_scheduler()
    jobs = len(world.submit(30))
    for away_s in (1.5, 0.1, 0.1, 0.1):
        time.sleep(rng.uniform(0.3, 1.0))
        world.mongo.kill()
        time.sleep(away_s)
        world.mongo.start()
    world.wait_for_all()
    world.check(jobs)


def test_two_schedulers_take_turns(world: World) -> None:
    first = world.start_scheduler()
    wait_until(lambda: world.leader()[0] == 1)
    second = world.start_scheduler()
    jobs = len(world.submit(10))
    world.wait_for_all()
    length_s, steps = world.preview()
    # No less than what the job says; more if what was just done took longer, as on a busy machine.
    assert (length_s >= 59.9, steps) == (True, 2)
    assert world.leader()[0] == 1
    # A scheduler that is dead is replaced at once; one that hangs, after its lease; it writes nothing more.
    first.kill()
    first.wait()
    wait_until(lambda: world.leader()[0] == 2)
    third = world.start_scheduler()
    world.freeze(second)
    jobs += len(world.submit(10))
    wait_until(lambda: world.leader()[0] == 3)
    second.send_signal(signal.SIGCONT)
    assert second.wait(PATIENCE_S) != 0
    world.wait_for_all()
    world.check(jobs)
    third.terminate()
    assert third.wait(PATIENCE_S) == 0
