"""The database wrapper that Django looks for in ``octolab.sqlite``.

SQLite lets one transaction write at a time, and its own busy handler sleeps up to 100 ms between two tries: under
load the unlucky wait for seconds. Here the threads of a process queue for one lock, and the one at its head asks
SQLite every two milliseconds until another process has finished.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import defaultdict
from typing import Any

from django.db.backends.sqlite3 import base

_RETRY_S = 0.002
_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


class DatabaseWrapper(base.DatabaseWrapper):
    """Take the process's write lock with ``BEGIN IMMEDIATE``, and give it back with the transaction's end."""

    _held: threading.Lock | None = None

    def _start_transaction_under_autocommit(self) -> None:
        lock = _locks[str(self.settings_dict["NAME"])]
        timeout_s = float(self.settings_dict["OPTIONS"].get("timeout", 5))
        deadline_s = time.monotonic() + timeout_s
        with self.wrap_database_errors:
            if not lock.acquire(timeout=timeout_s):
                raise sqlite3.OperationalError(
                    f"database is locked: a transaction of this process holds it {timeout_s} s"
                )
            try:
                self._begin(deadline_s, timeout_s)
            except BaseException:
                lock.release()
                raise
        self._held = lock

    def _begin(self, deadline_s: float, timeout_s: float) -> None:
        connection: Any = self.connection
        connection.execute("PRAGMA busy_timeout = 0")
        try:
            while True:
                try:
                    connection.execute(f"BEGIN {self.transaction_mode or 'DEFERRED'}")  # type: ignore[attr-defined]
                    return
                except sqlite3.OperationalError as error:
                    busy = getattr(error, "sqlite_errorcode", None) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
                    if not busy or time.monotonic() > deadline_s:
                        raise
                time.sleep(_RETRY_S)
        finally:
            connection.execute(f"PRAGMA busy_timeout = {int(timeout_s * 1000)}")

    def _release(self) -> None:
        lock, self._held = self._held, None
        if lock is not None:
            lock.release()

    def _commit(self) -> None:
        # A commit that fails leaves the transaction open: Django rolls back next, and that gives the lock back.
        super()._commit()  # type: ignore[misc]
        self._release()

    def _rollback(self) -> None:
        try:
            super()._rollback()  # type: ignore[misc]
        finally:
            self._release()

    def _close(self) -> None:
        try:
            super()._close()  # type: ignore[misc]
        finally:
            self._release()
