"""The services as a process of their own: real Celery worker, real Redis, a database file, a chat service over HTTP."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.notifications.chat import Chat
from tests.services import RedisServer

ROOT = Path(__file__).parents[2]
PREPARE = """
import django; django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
"""
ENQUEUE = """
import sys, django; django.setup()
from django.db import transaction
from notifications.models import Channel, Notification
from notifications.outbox import enqueue, ring
from scheduler.models import Job
from tests.analysis.measured import make_job
from users.models import User
from users.services import create_user
user = User.objects.filter(username="ann").first() or create_user("ann")
for url in sys.argv[3:]:
    Channel.objects.get_or_create(user=user, name=url[-5:], url=url)
with transaction.atomic():
    job = make_job(user, name=sys.argv[1], samples=0)
    enqueue("finished", job)
if sys.argv[2] == "ring":
    ring()
"""
LEASE_ENDS = """
import django; django.setup()
from django.utils import timezone
from notifications.models import Notification
assert Notification.objects.update(next_try_at=timezone.now()) == 1
"""


class Services:
    """The worker process and what it needs."""

    def __init__(self, directory: Path, redis: RedisServer) -> None:
        self.redis = redis
        self.log = directory / "services.log"
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.environment = kept | {
            "DJANGO_SETTINGS_MODULE": "octolab.settings",
            "OCTOLAB_SECRET_KEY": "x" * 60,
            "OCTOLAB_DATA_ROOT": str(directory),
            "OCTOLAB_REDIS_URL": redis.url,
            "OCTOLAB_NOTIFY_PRIVATE": "1",
            "PYTHONPATH": str(ROOT),
        }
        self.python(PREPARE)
        self.start()

    def start(self) -> None:
        """Start the worker."""
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "celery", "--app", "octolab.celery", "worker"),
                    *("--queues", "analysis,notifications,exports", "--pool", "threads", "--concurrency", "2"),
                    *("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "INFO"),
                ],
                env=self.environment,
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )

    def python(self, script: str, *arguments: str) -> None:
        """Run a script beside the worker, as the scheduler or the web would."""
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments], env=self.environment, cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

    def finish(self, name: str, chats: list[Chat], *, ring: bool = False) -> None:
        """Let a job of that name finish; its owner has a channel at each chat service."""
        self.python(ENQUEUE, name, "ring" if ring else "silent", *(chat.url() for chat in chats))


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    redis = RedisServer(tmp_path / "redis")
    with redis:
        services = Services(tmp_path, redis)
        yield services
        services.process.kill()
        services.process.wait()


def titles(chat: Chat) -> list[str]:
    return sorted(str(message["title"]) for message in chat.messages)


def test_messages_leave_whatever_happens_to_redis_and_to_another_chat_service(services: Services) -> None:
    healthy, dead = Chat(), Chat()
    try:
        dead.hang()
        services.finish("one", [healthy, dead], ring=True)
        dead.wait_for(1)
        healthy.wait_for(1)
        services.finish("two", [healthy, dead])
        healthy.wait_for(2)
        assert dead.calls == 1, "the dead service has one thread, and a rest"
        services.redis.kill()
        services.finish("three", [healthy, dead])
        healthy.wait_for(3)
        services.redis.start()
        services.finish("four", [healthy, dead], ring=True)
        healthy.wait_for(4)
        expected = [f"Job «{name}» is finished (simulated)" for name in ("four", "one", "three", "two")]
        assert titles(healthy) == sorted(expected), "each once"
        dead.let_go.set()

        services.process.send_signal(signal.SIGTERM)
        assert services.process.wait(timeout=60) == 0, services.log.read_text()
        assert "hunter2" not in services.log.read_text()
    finally:
        healthy.close()
        dead.close()


def test_a_message_survives_kill_9_while_it_is_sent_and_needs_no_redis(services: Services) -> None:
    chat = Chat()
    try:
        chat.hang()
        services.finish("one", [chat], ring=True)
        chat.wait_for(1)
        services.process.kill()
        services.process.wait()
        chat.let_go.set()
        services.python(LEASE_ENDS)
        services.redis.kill()
        services.start()
        chat.wait_for(2)
        assert set(titles(chat)) == {"Job «one» is finished (simulated)"}
    finally:
        chat.close()
