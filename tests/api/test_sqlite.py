"""The SQLite backend: writers queue, nobody fails, and the lock always comes back."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_django
from django.db import OperationalError, transaction
from django.db.utils import ConnectionHandler

from octolab.sqlite.base import DatabaseWrapper


def connect(path: Path, timeout_s: float = 20.0) -> DatabaseWrapper:
    options = {"transaction_mode": "IMMEDIATE", "timeout": timeout_s, "init_command": "PRAGMA journal_mode=WAL;"}
    handler = ConnectionHandler({"default": {"ENGINE": "octolab.sqlite", "NAME": str(path), "OPTIONS": options}})
    connection = handler.create_connection("default")
    assert isinstance(connection, DatabaseWrapper)
    return connection


def run(connection: DatabaseWrapper, sql: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall()) if cursor.description else []


class Atomic:
    """``transaction.atomic`` for a connection that is not among the configured ones."""

    def __init__(self, connection: DatabaseWrapper) -> None:
        self.connection = connection

    def __enter__(self) -> None:
        self.connection.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)
        self.connection.in_atomic_block = True

    def __exit__(self, kind: Any, *_: object) -> None:
        self.connection.in_atomic_block = False
        try:
            self.connection.rollback() if kind else self.connection.commit()
        finally:
            self.connection.set_autocommit(True)


@pytest.fixture
def path(tmp_path: Path, django_db_blocker: pytest_django.DjangoDbBlocker) -> Iterator[Path]:
    """A database with a counter, apart from the tests' own."""
    path = tmp_path / "db.sqlite3"
    with django_db_blocker.unblock():
        connection = connect(path)
        run(connection, "CREATE TABLE counter (value INTEGER)")
        run(connection, "INSERT INTO counter VALUES (0)")
        connection.close()
        yield path


def test_many_threads_and_another_writer_lose_no_update(path: Path) -> None:
    def count() -> None:
        connection = connect(path)
        for _ in range(25):
            with Atomic(connection):
                [(value,)] = run(connection, "SELECT value FROM counter")
                run(connection, f"UPDATE counter SET value = {value + 1}")
        connection.close()

    def count_outside() -> None:
        other = sqlite3.connect(path, timeout=60, isolation_level=None)
        for _ in range(25):
            other.execute("BEGIN IMMEDIATE")
            [(value,)] = other.execute("SELECT value FROM counter")
            other.execute(f"UPDATE counter SET value = {value + 1}")
            other.execute("COMMIT")
        other.close()

    threads = [threading.Thread(target=count) for _ in range(4)] + [threading.Thread(target=count_outside)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    connection = connect(path)
    assert run(connection, "SELECT value FROM counter") == [(125,)]
    connection.close()


def test_an_error_gives_the_lock_back(path: Path) -> None:
    first, second = connect(path), connect(path, timeout_s=2)

    def fail() -> None:
        with Atomic(first):
            run(first, "UPDATE counter SET value = 5")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with Atomic(second):
        assert run(second, "SELECT value FROM counter") == [(0,)]
    first.close()
    second.close()


def test_a_closed_connection_gives_the_lock_back(path: Path) -> None:
    first, second = connect(path), connect(path, timeout_s=2)
    first.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)
    first.close()
    with Atomic(second):
        run(second, "UPDATE counter SET value = 7")
    second.close()


@pytest.mark.parametrize("inside", [True, False])
def test_who_waits_too_long_is_told(path: Path, inside: bool) -> None:
    """Whether the writer is another thread of this process or another process."""
    waiting = connect(path, timeout_s=0.2)
    holder: Any
    if inside:
        holder = connect(path)
        holder.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)
    else:
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
    before_s = time.monotonic()
    with pytest.raises(OperationalError, match="locked"), Atomic(waiting):
        pytest.fail("two writers at once")
    assert time.monotonic() - before_s >= 0.2
    holder.close()
    with Atomic(waiting):
        run(waiting, "UPDATE counter SET value = 1")
    waiting.close()


@pytest.mark.django_db(transaction=True)
def test_the_configured_database_still_does_atomic_blocks() -> None:
    from users.models import Project

    def fail() -> None:
        with transaction.atomic():
            Project.objects.create(slug="x", name="x")
            with transaction.atomic():
                Project.objects.create(slug="y", name="y")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not Project.objects.exists()
