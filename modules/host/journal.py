"""The host's local journal: what happened at the bench, on disk before anybody else is told.

One JSON object per line behind its checksum. Lines are gathered and synced together (group commit): whoever needs
its line on disk calls :meth:`Journal.write`, everybody else :meth:`Journal.append`, and the shipper syncs what it is
about to send. A line that a crash tore is recognised by its checksum and left out.

Kinds of records (``"k"``): ``open`` (an incarnation starts), ``claim``, ``drop`` (the claim was lost), ``intent``
(a command is about to be sent), ``doc`` (a document to insert), ``put`` (a document to set), ``running`` and
``close`` (changes of an attempt).
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import shutil
import threading
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

Record = Mapping[str, Any]

SEGMENT_BYTES = 8 << 20
ROOM_BYTES = 1 << 20
_SUFFIX = ".jsonl"


class JournalError(Exception):
    """The journal cannot be used or written; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A record with its number; numbers count up over all incarnations."""

    number: int
    record: Record


class Journal:
    """An append-only journal in a folder of its own.

    Parameters
    ----------
    folder : pathlib.Path
        Created if need be. Locked, so that two processes of one host cannot write it.
    segment_bytes : int, optional
        A new file is begun when the present one is longer than this many bytes.

    Raises
    ------
    JournalError
        Another process has the journal, or the folder cannot be written.
    """

    def __init__(self, folder: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.folder = folder
        self._segment_bytes = segment_bytes
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock_file = (folder / "lock").open("a")
        except OSError as error:
            raise JournalError(f"the journal {folder} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock_file.close()
            raise JournalError(
                f"another process is using the journal {folder}: stop the other host of this name, or start this one "
                "under another name"
            ) from error
        self._more = threading.Condition()
        self._sync_lock = threading.Lock()
        self._file: int | None = None
        self._size = 0
        self._buffer: list[tuple[int, bytes]] = []
        self._unshipped: deque[Entry] = deque()
        self._open_claims: dict[str, int] = {}
        self._segments: list[int] = []
        self._number = 0
        self._shipped = self._read_shipped()
        # Numbers are never used again, even if a full disk did not take the records that were shipped last.
        self._number = self._shipped

    # ------------------------------------------------------------------ the past

    def replay(self) -> Iterator[Record]:
        """Yield all records that are on disk, oldest first, and queue those that were never shipped.

        Call it once, before anything is appended.
        """
        for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
            self._segments.append(int(path.stem))
            self._number = max(self._number, int(path.stem) - 1)
            for number, record in _read_segment(path):
                self._number = max(self._number, number)
                self._note(number, record)
                if number > self._shipped:
                    self._unshipped.append(Entry(number, record))
                yield record

    # ------------------------------------------------------------------ writing

    def append(self, record: Record) -> int:
        """Queue a record, and return its number. It is on disk after the next sync.

        Raises
        ------
        ValueError, TypeError
            The record is not JSON.
        """
        return self._append(record)[0]

    def write(self, record: Record) -> None:
        """Append a record and return when it is on disk.

        Raises
        ------
        JournalError
            It is not, and will not be: the disk is full or broken.
        """
        number, line = self._append(record)
        try:
            self.sync(number)
        except JournalError:
            with self._more, suppress(ValueError):
                self._buffer.remove((number, line))
            raise

    def _append(self, record: Record) -> tuple[int, bytes]:
        body = json.dumps(record, separators=(",", ":"), default=_plain)
        with self._more:
            self._number += 1
            number = self._number
            # the number stands outside of the record's own text, so that it costs no second serialisation
            payload = b"%d %s" % (number, body.encode())
            line = b"%08x %s\n" % (zlib.crc32(payload), payload)
            self._buffer.append((number, line))
            self._unshipped.append(Entry(number, record))
            self._note(number, record)
            self._more.notify()
        return number, line

    @property
    def has_room(self) -> bool:
        """Whether the disk takes at least what a step writes. Without it no step should begin."""
        return shutil.disk_usage(self.folder).free >= ROOM_BYTES

    def sync(self, number: int | None = None) -> None:
        """Bring everything appended so far, or at least all up to a record's number, onto the disk.

        Raises
        ------
        JournalError
            The disk is full or broken. What could not be written stays queued.
        """
        with self._sync_lock:
            with self._more:
                if not self._buffer or (number is not None and self._buffer[0][0] > number):
                    return
                taken, self._buffer = self._buffer, []
            try:
                self._write_out(taken)
            except OSError as error:
                with self._more:
                    self._buffer = taken + self._buffer
                hint = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "check the disk"
                raise JournalError(f"the journal {self.folder} cannot be written ({error.strerror}): {hint}") from error

    def _write_out(self, lines: list[tuple[int, bytes]]) -> None:
        if self._file is None or self._size > self._segment_bytes:
            self._begin_segment(lines[0][0])
        assert self._file is not None  # noqa: S101 - begun just above
        data = b"".join(line for _, line in lines)
        try:
            done = 0
            while done < len(data):
                done += os.write(self._file, data[done:])
            os.fdatasync(self._file)
        except OSError:
            # half a line in the middle of a file would hide nothing, but would look like damage
            with suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise
        self._size += len(data)

    def _begin_segment(self, number: int) -> None:
        # a file of that number can only be one in which a crash left not a single whole line
        file = os.open(self._path(number), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        if self._file is not None:
            os.close(self._file)
        self._file, self._size = file, 0
        if number not in self._segments:
            self._segments.append(number)

    # ------------------------------------------------------------------ shipping

    def take(self, limit: int, timeout_s: float) -> list[Entry]:
        """Return the oldest records that are not shipped yet, at most ``limit``; wait for one if there is none."""
        with self._more:
            if not self._unshipped:
                self._more.wait(timeout_s)
            return [self._unshipped[index] for index in range(min(limit, len(self._unshipped)))]

    def shipped(self, entries: list[Entry]) -> None:
        """Forget records that :meth:`take` returned: they are safe elsewhere. Removes files nobody needs any more."""
        if not entries:
            return
        with self._more:
            for _ in entries:
                self._unshipped.popleft()
            self._shipped = entries[-1].number
        with suppress(OSError):
            # a lost marker costs nothing but a second, harmless shipment
            (self.folder / "shipped").write_text(f"{self._shipped}\n")
        self._remove_old_segments()

    @property
    def backlog(self) -> int:
        """How many records are not shipped yet."""
        return len(self._unshipped)

    def _remove_old_segments(self) -> None:
        with self._sync_lock:
            while len(self._segments) > 1:
                with self._more:
                    needed = min([self._shipped + 1, *self._open_claims.values()])
                if self._segments[1] > needed:
                    return
                self._path(self._segments.pop(0)).unlink(missing_ok=True)

    # ------------------------------------------------------------------

    def close(self) -> None:
        """Sync what there is, and let go of the folder."""
        try:
            self.sync()
        finally:
            if self._file is not None:
                os.close(self._file)
                self._file = None
            self._lock_file.close()

    def _note(self, number: int, record: Record) -> None:
        match record["k"]:
            case "claim":
                self._open_claims[record["id"]] = number
            case "drop" | "close":
                self._open_claims.pop(record["id"], None)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:016d}{_SUFFIX}"

    def _read_shipped(self) -> int:
        try:
            return int((self.folder / "shipped").read_text())
        except (OSError, ValueError):
            return 0


def _read_segment(path: Path) -> Iterator[tuple[int, Record]]:
    lines = path.read_bytes().split(b"\n")
    for index, line in enumerate(lines):
        if not line:
            continue
        try:
            checksum, payload = line.split(b" ", 1)
            if int(checksum, 16) != zlib.crc32(payload):
                raise ValueError("wrong checksum")
            number, body = payload.split(b" ", 1)
            yield int(number), json.loads(body)
        except ValueError:
            if index < len(lines) - 1:
                log.error("%s, line %d is damaged and is left out", path, index + 1)


def _plain(value: Any) -> Any:
    """Turn a numpy scalar into a number."""
    if hasattr(value, "dtype") and getattr(value, "shape", None) == ():
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
