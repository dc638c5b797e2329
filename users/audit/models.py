"""The rows of the audit log. Nothing in the program changes or removes one."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC
from typing import Any, NoReturn

from django.db import models

BEGINNING = "0" * 64
"""What the first entry of a chain follows."""


class AppendOnlyError(TypeError):
    """Somebody tried to change or remove an entry of the audit log."""


class AuditQuerySet(models.QuerySet["AuditEntry"]):
    """Entries: to be read."""

    def update(self, **kwargs: Any) -> NoReturn:
        """Refuse."""
        raise AppendOnlyError("The audit log is only ever added to.")

    def delete(self) -> NoReturn:
        """Refuse."""
        raise AppendOnlyError("The audit log is only ever added to.")


class AuditEntry(models.Model):
    """One thing that somebody did. It holds names, not references: it outlives what it speaks of."""

    seq = models.BigIntegerField(primary_key=True)
    """Place in the chain, from 1, without gaps."""
    at = models.DateTimeField()
    actor = models.CharField(max_length=150)
    """User name; ``octolab`` for the program itself, ``system:<name>`` for who runs a command on the server."""
    credential = models.CharField(max_length=60)
    """``session``, ``token <id>``, ``password``, ``command`` or ``process``."""
    address = models.CharField(max_length=45, blank=True)
    verb = models.CharField(max_length=60)
    """``<noun>.<verb>``, such as ``job.submit``."""
    subject = models.CharField(max_length=200, blank=True)
    """Id or name of what it was done to."""
    project = models.CharField(max_length=64, blank=True)
    """Short name of the project that it concerns."""
    detail = models.TextField(blank=True)
    """JSON, kept as the text that was hashed."""
    previous = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    objects = AuditQuerySet.as_manager()

    class Meta:
        app_label = "users"
        indexes = [
            models.Index(fields=["actor", "-seq"]),
            models.Index(fields=["project", "-seq"]),
            models.Index(fields=["subject"]),
            models.Index(fields=["at"]),
        ]

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert; an entry that is there already is never written again."""
        super().save(*args, **{**kwargs, "force_insert": True})

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse."""
        raise AppendOnlyError("The audit log is only ever added to.")

    def digest(self) -> str:
        """Return the SHA-256 over everything that the entry says, and over the hash of the one before it."""
        said = [
            *(self.seq, self.at.astimezone(UTC).isoformat(timespec="microseconds"), self.actor, self.credential),
            *(self.address, self.verb, self.subject, self.project, self.detail, self.previous),
        ]
        return hashlib.sha256(json.dumps(said, separators=(",", ":")).encode()).hexdigest()


class AuditHead(models.Model):
    """Where the chain ends: the lock of those who write, and the proof that its end was not cut off."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    seq = models.BigIntegerField(default=0)
    hash = models.CharField(max_length=64, default=BEGINNING)

    class Meta:
        app_label = "users"
