"""One leader: a lease row with an epoch, so that a scheduler that was declared dead can write no more.

A second scheduler waits. It takes over when the holder's process is known to be gone (same machine), or when the
row has stood still for a whole lease by its own monotonic clock.
"""

from __future__ import annotations

import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path

from django.db import transaction

from modules.contract.clock import boot_id
from octolab.rows import RowsChangedError, update_rows
from scheduler.models import Leader

LEASE_S = 10.0
RENEW_S = 2.0
POLL_S = 0.25


class LeadershipLostError(Exception):
    """Another scheduler has taken over: this one must end without writing anything more."""


def identity() -> str:
    """Return who this process is, such that another one on the machine can tell whether it still runs."""
    return f"{socket.gethostname()}:{boot_id()}:{_namespace()}:{os.getpid()}:{_start_time(os.getpid())}"


def _namespace() -> str:
    path = Path("/proc/self/ns/pid")
    return os.readlink(path) if path.exists() else ""


def _start_time(pid: int) -> str:
    """Return the start time in the process table; empty if there is no such process, or no table."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]


def known_dead(holder: str) -> bool:
    """Tell whether the process of this identity has certainly ended."""
    *machine, pid, started = holder.rsplit(":", 2)
    own = identity().rsplit(":", 2)
    return machine == own[:1] and bool(own[2]) and pid.isdigit() and _start_time(int(pid)) != started


class Leadership:
    """This process's hold of the leader row."""

    def __init__(self) -> None:
        self.holder = identity()
        self.epoch = 0
        self.last_event_seq = 0
        self.plan_version = 0
        self.renewed_s = 0.0
        """Monotonic time of the last write."""
        self._seen: tuple[int, datetime | None] | None = None
        self._seen_s = 0.0

    def try_to_lead(self) -> bool:
        """Take the lease if it is free; return whether this process leads now."""
        Leader.objects.get_or_create(id=1)
        row = Leader.objects.get(id=1)
        now = time.monotonic()
        if (row.epoch, row.renewed_at) != self._seen:
            self._seen, self._seen_s = (row.epoch, row.renewed_at), now
        free = row.renewed_at is None or known_dead(row.holder) or now - self._seen_s > LEASE_S
        if not free:
            return False
        with transaction.atomic():
            took = Leader.objects.filter(id=1, epoch=row.epoch, renewed_at=row.renewed_at).update(
                epoch=row.epoch + 1, holder=self.holder, renewed_at=datetime.now(UTC)
            )
        if not took:
            return False
        self.epoch, self.last_event_seq, self.plan_version = row.epoch + 1, row.last_event_seq, row.plan_version
        self.renewed_s = now
        return True

    def assert_mine(self, *, last_event_seq: int | None = None, plan_version: int | None = None) -> None:
        """Lock and renew the lease: the first statement of every write transaction.

        Raises
        ------
        LeadershipLostError
            If another scheduler leads.
        """
        seq = self.last_event_seq if last_event_seq is None else last_event_seq
        version = self.plan_version if plan_version is None else plan_version
        try:
            update_rows(
                Leader,
                ("renewed_at", "last_event_seq", "plan_version"),
                [(datetime.now(UTC), seq, version, 1, self.epoch)],
                where=("id", "epoch"),
            )
        except RowsChangedError as error:
            raise LeadershipLostError(f"epoch {self.epoch} is over") from error

    def committed(self, *, last_event_seq: int, plan_version: int) -> None:
        """Take over the counters of a transaction that was committed."""
        self.last_event_seq, self.plan_version = last_event_seq, plan_version
        self.renewed_s = time.monotonic()

    def renew(self) -> None:
        """Renew the lease if nothing was written for a while."""
        if time.monotonic() - self.renewed_s > RENEW_S:
            with transaction.atomic():
                self.assert_mine()
            self.renewed_s = time.monotonic()

    def release(self) -> None:
        """Give the lease back, so that a successor need not wait."""
        Leader.objects.filter(id=1, epoch=self.epoch).update(renewed_at=None)
